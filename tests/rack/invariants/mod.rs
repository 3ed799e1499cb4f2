//! What must be true of every run. One promise a file; those with a number are the invariants of the design's fault matrix.
//! A checker reads what the wire carried (between phones and VIP, and on the planes), the CDRs, and what phones reported;
//! never our own logs.
//!
//! | | promise | checked |
//! |---|---|---|
//! | I1 | an established dialog: what is said in it reaches the peer, and we say nothing of our own | `i01_established` |
//! | I2 | an attempt: one outcome, the same at both ends; one ring; silence after a CANCEL | `i02_setup`; when all is over also `i02_outcome`, `i02_ringing`, `i02_silence` |
//! | I3 | a registration: acknowledged, so visible; removed, so gone; each as of one register | `i03_registration`, `i03_order` |
//! | I4 | one CDR an answered call, as long as it was | `i04_accounting` |
//! | I5 | no SIP to a node more than 200 ms after it was marked down | `i05_down` |
//! | I6 | one holder a call | `i06_holders` |
//! | I7 | equal level, equal checksum | `i07_replicas` |
//! | I8 | everything is bounded | `i08_leftovers`, when all is over; `tidy::purity` (every queue has a bound), `fuzz` (`limits`), the shipper's and the shelf's own tests |
//! | I9 | one packet out for one in | `i09_causes`; octets and challenges: `fuzz` (`node`, `strangers`) |
//! | I10 | the log is a prefix with every acknowledged entry | `i03_registration` across restarts of the location server; the log's own tests in `location-server`; live: `healing` |
//! | I11 | the VIP answers within 500 ms of a killed, 1 s of a stopped process | live: `healing`, `hanging`, since what restarts a process is no part of the simulation; which node serves how soon: `owners` |
//!
//! `Simulation::verdict` runs I1 to I7 and I9 of every run in which heartbeats beat, whether its ladder asks or not.

pub mod ack_after_shadow;
mod beacons;
pub mod i01_established;
pub mod i02_outcome;
pub mod i02_ringing;
pub mod i02_setup;
pub mod i02_silence;
mod i03_order;
pub mod i03_registration;
pub mod i04_accounting;
mod i05_down;
pub mod i06_holders;
pub mod i07_replicas;
pub mod i08_leftovers;
pub mod i09_causes;
mod leases;
mod owners;
pub mod planes;
pub mod wire;

use crate::simulation::Simulation;
use planes::Violation;
use wire::Wire;

/// Everything that the world's side of a run shows, as far as it has come.
pub fn of_the_wire(s: &Simulation) -> Result<(), Violation> {
    let wire = Wire::read(s);
    let kept = |call_id: &str| !s.planes_saw_a_death_of(call_id);
    let found = i01_established::holds(&wire)
        .and_then(|()| i02_setup::holds(&wire))
        .and_then(|()| if s.storm { Ok(()) } else { i02_setup::is_silenced(&wire, s.now(), |a, b| s.losses(a, b)) })
        .and_then(|()| i03_registration::holds(&wire))
        .and_then(|()| i03_order::holds(&wire))
        .and_then(|()| i04_accounting::holds(s, &wire, kept))
        .and_then(|()| i09_causes::holds(&wire));
    found.map_err(|(what, call_id)| Violation { what, call_id: Some(call_id) })?;
    i07_replicas::holds(s).map_err(|what| Violation { what, call_id: None })
}
