//! The judgement itself: datagrams in, epochs, tables and beacons out. One change or several that fall together make one
//! new epoch.

use super::beacons::{Beacons, Occasion, Said};
use super::foreign::ForeignTable;
use super::learning::{Learned, Learning};
use super::refusal::Refusal;
use super::servers::{Departure, Server, ServerTable, Wish};
use super::status::{self, Changed, Phase, Status};
use super::{Effect, Event, Input};
use crate::table::Table;
use common::config::Rack;
use common::ids::{BootId, Epoch, NodeId, Plane};
use common::keys::{Keys, Use};
use common::placement::recent::Recent;
use common::placement::{Placement, Placer};
use common::time::{Duration, Time};
use common::wire::control::{Report, Stopped};
use common::wire::frame::{self, FrameError, Message};
use common::wire::heartbeat::{self, Heartbeat, HeartbeatError};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};

/// A beacon later than this means that this process did not run: what it thinks of the nodes is worth nothing.
const SLEPT: Duration = Duration::from_millis(150);
/// Two nodes or more, and none heard for five periods: then it is this load manager that is cut off, or there is nobody who
/// could go on with anything. One by one they would be held dead in epochs in which others live, and when they are heard again
/// each would think that its calls have been taken up.
const DEAF: Duration = Duration::from_millis(250);

/// What a load manager must be told at its start.
pub struct Setup {
    /// This load manager's id in the rack file.
    pub id: u16,
    /// Its incarnation.
    pub boot: BootId,
    /// Expanded.
    pub rack: Arc<Rack>,
    pub keys: Arc<Keys>,
    pub placer: Placer,
    /// Any 64 random bits, another for each incarnation.
    pub nonce_seed: u64,
}

/// See the module. `handle` for each datagram, `tick` whenever `next_due` has come.
pub struct Core {
    keys: Arc<Keys>,
    down_after: Duration,
    suspect_after: Duration,
    servers: ServerTable,
    foreign: ForeignTable,
    digest: u64,
    table: Arc<Table>,
    placer: Placer,
    /// What stood before the table's placement.
    recent: Recent,
    last_change: Option<Changed>,
    /// Of each node the slots whose new calls it takes: counted when somebody looks.
    takes: OnceLock<BTreeMap<NodeId, u32>>,
    learning: Option<Learning>,
    /// The highest epoch that anybody named.
    heard_epoch: Epoch,
    /// An admit fraction, the highest of late or a plane changed: the packet path needs a new table though the epoch stands.
    table_is_old: bool,
    beacons: Beacons,
    refused: [u64; Refusal::ALL.len()],
    failovers: [u64; Departure::ALL.len()],
}

impl Core {
    /// Starts by learning; call `tick` at once.
    pub fn new(now: Time, setup: Setup) -> Core {
        let planes: Vec<Plane> = setup
            .rack
            .load_manager(setup.id)
            .map(|lm| lm.planes.iter().map(|(plane, _)| plane).collect())
            .unwrap_or_default();
        let own = [planes.contains(&Plane::A), planes.contains(&Plane::B)];
        let beat = &setup.rack.heartbeat;
        let period = Duration::from_millis(u64::from(beat.period_ms));
        let table = Table::empty();
        Core {
            beacons: Beacons::new(now, setup.boot, setup.keys.clone(), planes, period, setup.nonce_seed),
            down_after: Duration::from_millis(u64::from(beat.down_after_ms)),
            suspect_after: Duration::from_millis(u64::from(beat.suspect_after_ms)),
            servers: ServerTable::new(&setup.rack, own),
            foreign: ForeignTable::new(&setup.rack),
            digest: table.placement().digest(),
            table: Arc::new(table),
            placer: setup.placer,
            recent: Recent::default(),
            last_change: None,
            takes: OnceLock::new(),
            learning: Some(Learning::new(now, None)),
            heard_epoch: Epoch(0),
            table_is_old: false,
            refused: [0; Refusal::ALL.len()],
            failovers: [0; Departure::ALL.len()],
            keys: setup.keys,
        }
    }

    /// The table that was published last.
    pub fn table(&self) -> &Arc<Table> {
        &self.table
    }

    pub fn next_due(&self) -> Option<Time> {
        if let Some(learning) = &self.learning {
            return [Some(self.beacons.next()), learning.until()].into_iter().flatten().min();
        }
        let down = self.servers.iter().filter_map(|s| s.down_at(self.down_after)).min();
        Some(down.map_or(self.beacons.next(), |down| down.min(self.beacons.next())))
    }

    pub fn handle(&mut self, now: Time, input: Input<'_>, out: &mut Vec<Effect>) {
        if let Input::Keys(wanted) = input {
            self.keys.turn(wanted);
        }
        if self.slept(now, out) {
            return;
        }
        let Input::Datagram { from, bytes } = input else { return self.settle(now, out) };
        match self.datagram(now, from, bytes, out) {
            Ok(true) => self.settle(now, out),
            Ok(false) => {}
            // What is refused changes nothing, so a flood of it costs no judgement.
            Err(why) => {
                self.refused[why as usize] += 1;
                // A copy that came late, or a node that has not heard our newest beacon yet, is every day's business.
                if !matches!(why, Refusal::OldSequence | Refusal::StaleNonce) {
                    out.push(Effect::Happened(Event::Refused { from, why }));
                }
            }
        }
    }

    pub fn tick(&mut self, now: Time, out: &mut Vec<Effect>) {
        if !self.slept(now, out) && !self.falls_deaf(now, out) {
            for server in self.servers.iter_mut() {
                if server.choose_plane(now) {
                    self.table_is_old = true;
                    out.push(Effect::Happened(Event::PlaneChanged { node: server.node, plane: server.plane }));
                }
            }
            self.settle(now, out);
        }
        if now >= self.beacons.next() {
            self.beacon(now, Occasion::Period, out);
        }
    }

    /// How many were made so far: one a period at least, whether or not any node is there to hear it.
    pub fn beacons(&self) -> u64 {
        self.beacons.made()
    }

    pub fn status(&self, now: Time) -> Status {
        let phase = if self.learning.is_some() { Phase::Learning } else { Phase::Acting };
        let placement = self.table.placement();
        let takes = self.takes.get_or_init(|| status::takes(placement));
        let nodes = status::nodes(&self.servers, &self.table, takes, now, self.down_after, self.suspect_after);
        let formers = self.recent.formers(now, placement.inputs());
        let ages = formers.iter().map(|former| Duration::from_millis(u64::from(former.age_ms)));
        Status {
            phase,
            epoch: self.table.epoch(),
            policy: self.servers.policy,
            keys: self.keys.generations(),
            last_change: self.last_change.as_ref().map(|last| last.shown(now)),
            formers: self.recent.placements().cloned().zip(ages).collect(),
            digest: self.digest,
            beacons: self.beacons.made(),
            nodes,
            foreign: self.foreign.status(now),
            refused: self.refused,
            failovers: self.failovers,
        }
    }

    /// True if this process did not run for so long that it must learn anew.
    fn slept(&mut self, now: Time, out: &mut Vec<Effect>) -> bool {
        let late = now.since(self.beacons.next());
        if late <= SLEPT {
            return false;
        }
        self.learning = Some(Learning::new(now, self.known(now)));
        self.beacons.due_at(now);
        out.push(Effect::Happened(Event::Slept { late }));
        out.push(Effect::DiscardQueued);
        true
    }

    /// True if nobody has been heard for so long that it must learn anew, once somebody is.
    fn falls_deaf(&mut self, now: Time, out: &mut Vec<Effect>) -> bool {
        let heard = || self.servers.iter().filter_map(|server| server.down_at(Duration::ZERO));
        if self.learning.is_some() || heard().count() < 2 || heard().any(|at| now.since(at) < DEAF) {
            return false;
        }
        self.learning = Some(Learning::of_the_deaf(now, self.known(now)));
        out.push(Effect::Happened(Event::Deaf));
        true
    }

    /// What stands, for a load manager that must ask whether it does.
    fn known(&self, now: Time) -> Option<Learned> {
        let placement = self.table.placement();
        let (epoch, inputs) = (placement.epoch(), placement.inputs());
        let formers = || self.recent.formers(now, inputs);
        (epoch > Epoch(0)).then(|| Learned { epoch, inputs: inputs.clone(), formers: formers() })
    }

    /// Whether it may have changed anything that is judged. A foreign node's heartbeat never does, and nobody proves it: a
    /// flood of these costs no judgement either.
    fn datagram(&mut self, now: Time, from: SocketAddr, bytes: &[u8], out: &mut Vec<Effect>) -> Result<bool, Refusal> {
        if heartbeat::is_heartbeat(bytes) {
            let accepts_v1 = self.foreign.accepts_v1();
            let heartbeat = heartbeat::decode(bytes, &self.keys.plane, accepts_v1).map_err(|e| match e {
                HeartbeatError::V1Refused => Refusal::Foreign,
                HeartbeatError::Mac => Refusal::Mac,
                HeartbeatError::UnknownKey(_) => Refusal::OldKey,
                _ => Refusal::Malformed,
            })?;
            heartbeat::key_id(bytes).into_iter().for_each(|id| self.keys.plane.proved(id));
            return self.heartbeat(now, from, &heartbeat);
        }
        let message = frame::decode(bytes, &self.keys.plane).map_err(|e| match e {
            FrameError::Mac => Refusal::Mac,
            FrameError::UnknownKey(_) => Refusal::OldKey,
            _ => Refusal::Malformed,
        })?;
        self.keys.plane.proved(frame::key_id(bytes));
        match message {
            Message::Report(report) => self.report(now, from, report, out),
            Message::Stopped(stopped) => self.stopped(&stopped),
            Message::Beacon(_) => Err(Refusal::OtherLoadManager),
        }
        .map(|()| true)
    }

    fn heartbeat(&mut self, now: Time, from: SocketAddr, heartbeat: &Heartbeat) -> Result<bool, Refusal> {
        use super::incarnation::Judged;
        let Some(beat) = &heartbeat.v2 else {
            return self.foreign.hear(now, from, heartbeat).map(|()| false);
        };
        let nonce_age = self.beacons.age(beat.beacon_nonce, now);
        let server = self.servers.get_mut(heartbeat.node).ok_or(Refusal::UnknownNode)?;
        let before = server.incarnation.as_ref().map(|i| i.admit);
        match server.hear(now, from, heartbeat.state, beat, nonce_age) {
            Judged::Refused(why) => return Err(why),
            Judged::Copy => return Ok(true),
            Judged::Counts => {}
        }
        self.table_is_old |= before != Some(beat.admit);
        self.heard_epoch = self.heard_epoch.max(beat.epoch);
        if let Some(learning) = &mut self.learning {
            learning.hears(now);
            if beat.epoch == Epoch(0) {
                learning.has_nothing(heartbeat.node);
            }
        }
        Ok(true)
    }

    fn report(&mut self, now: Time, from: SocketAddr, report: Report, out: &mut Vec<Effect>) -> Result<(), Refusal> {
        let server = self.servers.get_mut(report.node).ok_or(Refusal::UnknownNode)?;
        let known = [Plane::A, Plane::B].into_iter().filter_map(|plane| server.control(plane));
        if !known.into_iter().any(|address| address.ip() == from.ip()) {
            return Err(Refusal::WrongSource);
        }
        if server.is_retired(report.boot) {
            return Err(Refusal::RetiredBoot);
        }
        // It answers a beacon of ours, or it is from before.
        if self.beacons.age(report.nonce, now).is_none() {
            return Err(Refusal::StaleNonce);
        }
        // Before the placement is adopted in which its predecessor lives.
        if self.learning.is_some() {
            server.introduce(now, report.boot);
        }
        report.keys.iter().for_each(|known| self.keys.turn(known));
        self.heard_epoch = self.heard_epoch.max(report.epoch);
        let ours = self.table.placement();
        if let Some(learning) = &mut self.learning {
            learning.hears(now);
            learning.report(report.node, report.epoch, report.inputs, report.formers);
        } else if report.epoch == ours.epoch() && report.inputs != *ours.inputs() {
            out.push(Effect::Happened(Event::InputsDiffer { node: report.node, epoch: report.epoch }));
        }
        Ok(())
    }

    fn stopped(&mut self, stopped: &Stopped) -> Result<(), Refusal> {
        let server = self.servers.get_mut(stopped.node).ok_or(Refusal::UnknownNode)?;
        if server.stopped(stopped.boot) { Ok(()) } else { Err(Refusal::RetiredBoot) }
    }

    /// Ends the learning if it is over; then one new epoch if anything changed about who is live or draining, or a new
    /// table under the same epoch if only an admit fraction (or the highest of late) or a plane did.
    fn settle(&mut self, now: Time, out: &mut Vec<Effect>) {
        let begun = out.len();
        let mut learned = false;
        if self.heard_epoch > Epoch(0) {
            self.learning.iter_mut().for_each(|learning| learning.names_an_epoch(now));
        }
        if let Some(learning) = self.learning.take_if(|l| l.is_over(now, self.servers.count())) {
            let best = learning.into_best();
            if let Some(best) = &best {
                self.heard_epoch = self.heard_epoch.max(best.epoch);
                self.recent.learn(now, &self.placer, &best.inputs, &best.formers);
                let before = |node| self.recent.placements().find_map(|placement| placement.live(node));
                self.servers.adopt(now, best.epoch, &best.inputs, before);
                self.servers.iter_mut().for_each(|server| server.was_anothers(now));
                self.keys.turn(&best.inputs.keys);
                if best.epoch > self.table.epoch() {
                    self.recent.superseded(now, self.placer.place(best.epoch, best.inputs.clone()));
                }
            }
            out.push(Effect::Happened(Event::Learned { from: best.map(|best| best.epoch) }));
            learned = true;
        }
        if self.learning.is_some() {
            return;
        }
        for server in self.servers.iter_mut() {
            self.table_is_old |= server.forgets(now);
        }
        let down_after = self.down_after;
        let turned = self.has_turned();
        let wishes = turned || self.servers.iter().any(|s| s.wish(now, down_after) != Wish::Nothing);
        if learned || wishes || self.heard_epoch > self.table.epoch() {
            self.next_epoch(now, out);
            let changed = Changed::by(&out[begun..], self.table.epoch(), now);
            self.last_change = changed.or(self.last_change.take());
        } else if self.table_is_old {
            self.publish(now, self.table.placement().clone(), out);
        }
    }

    fn next_epoch(&mut self, now: Time, out: &mut Vec<Effect>) {
        let epoch = Epoch(self.table.epoch().max(self.heard_epoch).0.saturating_add(1));
        self.heard_epoch = epoch;
        self.recent.superseded(now, self.table.placement().clone());
        for server in self.servers.iter_mut() {
            match server.wish(now, self.down_after) {
                Wish::Nothing => {}
                Wish::Enter(boot) => {
                    server.enter(boot);
                    out.push(Effect::Happened(Event::Entered { node: server.node, boot, epoch }));
                }
                Wish::Drain(draining) => {
                    server.drains = draining;
                    out.push(Effect::Happened(Event::Draining { node: server.node, draining, epoch }));
                }
                Wish::Leave(boot, why) => {
                    self.failovers[why as usize] += 1;
                    leave(server, now, boot, why, epoch, out);
                }
            }
        }
        let (before, keys) = (self.table.placement().inputs().keys, self.keys.generations());
        if self.has_turned() && self.table.epoch() > Epoch(0) {
            let turned = Use::ALL.into_iter().filter(|what| keys.of(*what) != before.of(*what));
            out.extend(turned.map(|what| Effect::Happened(Event::Turned { what, to: keys.of(what), epoch })));
        }
        // Where nobody knows of others, these stand.
        self.keys.turn(&keys);
        let placement = self.placer.place(epoch, self.servers.inputs(keys));
        self.digest = placement.digest();
        self.takes = OnceLock::new();
        self.publish(now, placement, out);
        self.beacon(now, Occasion::Change, out);
    }

    /// Other keys stand than the placement says.
    fn has_turned(&self) -> bool {
        self.keys.generations() != self.table.placement().inputs().keys
    }

    fn publish(&mut self, now: Time, placement: Arc<Placement>, out: &mut Vec<Effect>) {
        self.servers.iter_mut().for_each(|server| server.stands(now));
        self.table = Arc::new(Table::new(placement, self.servers.iter().map(Server::reach)));
        self.table_is_old = false;
        out.push(Effect::Publish(self.table.clone()));
    }

    fn beacon(&mut self, now: Time, why: Occasion, out: &mut Vec<Effect>) {
        self.recent.forget(now);
        let placement = self.table.placement();
        let formers = self.recent.formers(now, placement.inputs());
        let said = Said { placement, digest: self.digest, formers, learning: self.learning.is_some() };
        self.beacons.send(now, why, said, &self.servers, out);
    }
}

fn leave(server: &mut Server, now: Time, boot: BootId, why: Departure, epoch: Epoch, out: &mut Vec<Effect>) {
    (server.placed, server.drains) = (None, false);
    server.floor = epoch;
    if why == Departure::NewIncarnation {
        server.retire(boot);
    }
    out.push(Effect::Happened(Event::Left { node: server.node, boot, epoch, why }));
    let unexplained = matches!(why, Departure::Silent | Departure::NewIncarnation);
    if let Some(until) = unexplained.then(|| server.flapping.down(now, boot)).flatten() {
        out.push(Effect::Happened(Event::HeldDown { node: server.node, until }));
    }
}
