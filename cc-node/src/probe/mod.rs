//! Whether the addresses of trunks serve, as the rack knows it: what is probed and by whom, what an answer or a silence
//! changes, and what the prober tells all workers of all nodes. `node::probing` asks, `shadow::notices` tells.

use common::call_hash::CallHash;
use common::config::{Probe, Rack};
use common::flow::Flow;
use common::ids::{Epoch, NodeId, TrunkId};
use common::placement::Placement;
use common::time::Duration;
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;

/// An address of a trunk that is probed.
#[derive(Clone, Debug)]
pub struct Target {
    pub trunk: TrunkId,
    /// The listener that it is asked from, and where it is.
    pub flow: Flow,
    pub rules: Probe,
    /// Its slot's owner asks: one worker of the rack.
    pub hash: CallHash,
}

impl Target {
    /// Of all trunks that are probed, in the order of the rack file.
    pub fn all(rack: &Rack, placement_key: &[u8; 16]) -> Vec<Target> {
        let of = |trunk: &common::config::Trunk| {
            let (id, listener, rules) = (trunk.id, trunk.listener, trunk.probe.clone());
            let remotes: Vec<SocketAddr> = trunk.addresses.iter().map(|address| address.send_to()).collect();
            rules
                .into_iter()
                .flat_map(move |rules| {
                    let one = |remote: &SocketAddr| {
                        // What stands here in place of a Call-ID is none: it has white space.
                        let hash = CallHash::of(placement_key, format!("probe {id} {remote}").as_bytes());
                        Target { trunk: id, flow: Flow { listener, remote: *remote }, rules: rules.clone(), hash }
                    };
                    remotes.iter().map(one).collect::<Vec<_>>()
                })
                .collect::<Vec<_>>()
        };
        rack.trunks.iter().flat_map(of).collect()
    }

    /// Who asks: the owner of its slot, and which worker there. `workers`: of a node.
    pub fn prober(&self, placement: &Placement, workers: impl Fn(NodeId) -> u16) -> Option<(NodeId, u16)> {
        let node = placement.owner(self.hash.slot())?;
        Some((node, self.hash.worker(workers(node))))
    }
}

/// What came of a probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Answered { status: u16, after: Duration },
    Silent,
}

/// What is known of an address. It is observed: no change of who asks forgets it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    pub up: bool,
    /// For so long, as far as is known.
    pub since_ms: u64,
    /// Outcomes in a row that say the contrary.
    pub contrary: u8,
    /// Of the newest probe: 0 if nobody answered.
    pub status: u16,
    /// How long the newest answer took.
    pub latency_us: u32,
}

/// Nobody has been asked: up, since calls are not to be refused by what is not known.
impl Default for Health {
    fn default() -> Self {
        Health { up: true, since_ms: 0, contrary: 0, status: 0, latency_us: 0 }
    }
}

impl Health {
    /// After one more outcome.
    pub fn after(self, rules: &Probe, outcome: Outcome) -> Health {
        let (status, latency_us) = match outcome {
            Outcome::Answered { status, after } => (status, u32::try_from(after.as_micros()).unwrap_or(u32::MAX)),
            Outcome::Silent => (0, self.latency_us),
        };
        let alive = rules.alive.contains(&status);
        let seen = Health { status, latency_us, ..self };
        if alive == self.up {
            return Health { contrary: 0, ..seen };
        }
        let contrary = self.contrary.saturating_add(1);
        let enough = if self.up { rules.down_after } else { rules.up_after };
        match contrary >= enough {
            true => Health { up: !self.up, since_ms: 0, contrary: 0, ..seen },
            false => Health { contrary, ..seen },
        }
    }
}

/// What is told of an address. The newest counts: of a later epoch, or of the same epoch a later one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    pub trunk: TrunkId,
    pub address: SocketAddr,
    pub epoch: Epoch,
    pub no: u64,
    pub health: Health,
}

impl Report {
    pub fn is_newer(&self, than: &Report) -> bool {
        (self.epoch, self.no) > (than.epoch, than.no)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn rules() -> Probe {
        Probe { down_after: 3, up_after: 2, ..Probe::default() }
    }

    fn answered(status: u16) -> Outcome {
        Outcome::Answered { status, after: Duration::from_millis(7) }
    }

    /// `u` or `d` after each outcome.
    fn states(outcomes: &[Outcome]) -> String {
        let mut health = Health::default();
        let mut after = |outcome: &Outcome| {
            health = health.after(&rules(), *outcome);
            if health.up { 'u' } else { 'd' }
        };
        outcomes.iter().map(&mut after).collect()
    }

    #[test]
    fn it_takes_more_to_be_down_than_to_be_up_again_and_all_in_a_row() {
        let (yes, no, bad) = (answered(200), Outcome::Silent, answered(503));
        assert_eq!(states(&[no, no, no, yes, yes]), "uuddu");
        assert_eq!(
            states(&[no, bad, yes, bad, no, no]),
            "uuuuud",
            "a refusal to serve is no answer, and one answer mends"
        );
        assert_eq!(states(&[no, no, no, yes, no, yes, yes]), "uuddddu");
    }

    #[test]
    fn every_listed_code_is_a_sign_of_life() {
        for status in [200, 401, 404, 405, 486, 501, 603] {
            assert_eq!(states(&[answered(status); 4]), "uuuu", "{status}");
        }
        for status in [408, 500, 502, 503, 504] {
            assert_eq!(states(&[answered(status); 4]), "uudd", "{status}");
        }
    }

    #[test]
    fn the_newest_latency_and_code_are_kept() {
        let health = Health::default().after(&rules(), answered(404));
        assert_eq!((health.status, health.latency_us), (404, 7_000));
        let health = health.after(&rules(), Outcome::Silent);
        assert_eq!((health.status, health.latency_us, health.contrary), (0, 7_000, 1));
    }

    #[test]
    fn only_trunks_that_are_to_be_probed_are_and_each_address_has_a_slot() {
        let rack = "name: t\nlisteners: [ { address: 192.0.2.1 } ]\ndomains: [ { name: a.test } ]\none_machine: {}\ntrunks:\n\
            \x20 - { id: 1, name: one, addresses: [\"192.0.2.10\", \"192.0.2.11:5080\"], probe: {} }\n\
            \x20 - { id: 2, name: two, addresses: [\"192.0.2.20\"] }\n";
        let rack = Rack::from_yaml("t.yaml", rack).unwrap();
        let targets = Target::all(&rack, &[1; 16]);
        let remotes: Vec<String> = targets.iter().map(|target| target.flow.remote.to_string()).collect();
        assert_eq!(remotes, ["192.0.2.10:5060", "192.0.2.11:5080"]);
        assert_ne!(targets[0].hash, targets[1].hash);
    }
}
