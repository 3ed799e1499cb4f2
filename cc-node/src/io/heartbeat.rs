//! The heartbeat's thread and sockets: sends what [`crate::heartbeat::Heart`] says on every plane, hears beacons. Nothing
//! else may delay it: placements are computed by a thread of their own, which answers a learning load manager too.

use super::shared::Shared;
use crate::heartbeat::{Facts, Heart, HeartSetup, on_plane};
use crate::overload::{Announced, Overload};
use crate::ownership::{Adoption, Ownership};
use common::config::Egress;
use common::ids::{Epoch, NodeId, Plane};
use common::io::clock::Clock;
use common::io::keys_file::KeysFile;
use common::io::poll;
use common::io::start::StartError;
use common::io::udp::{self, Receiver};
use common::keys::Generations;
use common::placement::Placer;
use common::time::Duration;
use common::wire::beacon::Beacon;
use common::wire::control::Report;
use common::wire::frame::{self, Message};
use common::wire::heartbeat;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver as Queue, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;

/// Beacons that wait for the placement thread; the next beacon repeats what is lost here.
const BEACONS: usize = 16;

type Sockets = Arc<Vec<(Plane, UdpSocket)>>;

/// Opens the control port on each plane and starts both threads.
pub fn start(shared: &Arc<Shared>, clock: Clock, file: KeysFile) -> Result<Vec<JoinHandle<()>>, StartError> {
    let mut sockets = Vec::new();
    for (plane, ip) in shared.config.planes.iter() {
        let address = SocketAddr::new(ip, shared.config.control_port);
        let socket = udp::bind(address, false).map_err(|e| StartError::socket("heartbeats", address, e))?;
        sockets.push((plane, socket));
    }
    let sockets: Sockets = Arc::new(sockets);
    let (news, beacons) = sync_channel(BEACONS);
    let file = Arc::new(file);
    let adopter = (shared.clone(), sockets.clone());
    let placement = move || adopt(&adopter.0, &adopter.1, clock, &beacons, &file);
    let setup = HeartSetup {
        node: shared.id,
        boot: shared.boot,
        sip_port: shared.config.sip_port,
        workers: shared.config.workers.min(u16::from(u8::MAX)) as u8,
        class: shared.config.class,
        domain: shared.config.failure_domain(),
        period: Duration::from_millis(u64::from(shared.rack.heartbeat.period_ms)),
        direct: shared.rack.egress == Egress::Direct,
    };
    let heart = Beating {
        heart: Heart::new(setup, clock.now()),
        overload: Overload::new(clock.now()),
        announced: Announced::new(Duration::from_millis(u64::from(shared.rack.heartbeat.down_after_ms))),
        shared: shared.clone(),
        clock,
        sockets,
        news,
        forwarded: (Epoch(0), 0, Vec::new(), Vec::new()),
    };
    Ok(vec![super::thread(shared, "placement", placement)?, super::thread(shared, "heartbeat", move || heart.run())?])
}

struct Beating {
    heart: Heart,
    overload: Overload,
    announced: Announced,
    shared: Arc<Shared>,
    clock: Clock,
    sockets: Sockets,
    news: SyncSender<Beacon>,
    /// What the placement thread was told last: epoch, digest, former epochs, holders of strays.
    forwarded: (Epoch, u64, Vec<Epoch>, Vec<NodeId>),
}

impl Beating {
    fn run(mut self) {
        let mut receiver = Receiver::new();
        let mut ready = Vec::new();
        loop {
            let stopping = self.shared.is_stopping();
            if stopping || self.clock.now() >= self.heart.next_due() {
                self.beat();
            }
            if stopping {
                return;
            }
            let patience = self.heart.next_due().since(self.clock.now());
            let fds: Vec<_> = self.sockets.iter().map(|(_, socket)| socket.as_fd()).collect();
            if let Err(error) = poll::readable(&fds, patience, &mut ready) {
                tracing::error!(%error, "waiting on the control port failed");
                return;
            }
            drop(fds);
            for at in (0..ready.len()).filter(|at| ready[*at]).collect::<Vec<_>>() {
                self.hear(at, &mut receiver);
            }
        }
    }

    fn beat(&mut self) {
        let (shared, now) = (&self.shared, self.clock.now());
        self.overload.look(now, shared.behind());
        shared.admit.store(self.overload.admit(), Ordering::Relaxed);
        shared.least_admitted.store(self.overload.least(), Ordering::Relaxed);
        self.announced.say(now, self.overload.admit());
        shared.most_admitted.store(self.announced.most(), Ordering::Relaxed);
        let status = shared.replica.status();
        let facts = Facts {
            level_once: shared.level_once.load(Ordering::Relaxed),
            draining: shared.draining.load(Ordering::Relaxed),
            stopping: shared.is_stopping(),
            epoch: shared.placements.load().current.epoch(),
            history: status.history,
            level: status.level,
            location_sum: status.sum,
            load: shared.workers.iter().map(|w| w.load.load(Ordering::Relaxed)).max().unwrap_or(0),
            admit: self.overload.admit(),
            backups: Vec::new(),
            strays: shared.strays(),
        };
        let ticks: Vec<u64> = shared.workers.iter().map(|w| w.ticks.load(Ordering::Relaxed)).collect();
        let beat = self.heart.beat(now, &ticks, &facts);
        for (plane, socket) in self.sockets.iter() {
            let bytes = heartbeat::encode(&on_plane(beat.clone(), *plane), &shared.keys.plane);
            for lm in &shared.rack.load_managers {
                if let Some(ip) = lm.planes.address(*plane) {
                    // A load manager that is not there shows in its missing beacons.
                    let _ = socket.send_to(&bytes, SocketAddr::new(ip, lm.control_port));
                }
            }
        }
        shared.heartbeats_sent.fetch_add(1, Ordering::Relaxed);
        self.choose_plane();
    }

    fn hear(&mut self, at: usize, receiver: &mut Receiver) {
        let sockets = self.sockets.clone();
        let (plane, socket) = &sockets[at];
        while receiver.recv(socket).unwrap_or(0) > 0 {
            for datagram in receiver.iter() {
                match frame::decode(datagram.bytes, &self.shared.keys.plane) {
                    Ok(Message::Beacon(beacon)) if frame::is_of(*plane, datagram.bytes) => {
                        self.beacon(*plane, beacon, frame::key_id(datagram.bytes))
                    }
                    _ => {
                        self.shared.beacons_refused.fetch_add(1, Ordering::Relaxed);
                    }
                }
            }
        }
    }

    /// `key`: the id of the key that it is by.
    fn beacon(&mut self, plane: Plane, beacon: Beacon, key: u8) {
        if !self.heart.beacon(self.clock.now(), plane, &beacon) {
            self.shared.beacons_stale.fetch_add(1, Ordering::Relaxed);
            return;
        }
        self.shared.beacons_heard.fetch_add(1, Ordering::Relaxed);
        // What this node says must be understood before it has adopted anything.
        self.shared.keys.plane.proved(key);
        self.shared.lm_clock.store(self.heart.lm_clock().0, Ordering::Relaxed);
        if beacon.learning {
            self.announced.unknown(self.clock.now());
            self.shared.most_admitted.store(self.announced.most(), Ordering::Relaxed);
        }
        self.shared.lease.store(self.heart.lease().0, Ordering::Release);
        let formers = beacon.formers.iter().map(|former| former.epoch).collect();
        let said = (beacon.epoch, beacon.digest, formers, beacon.holders.clone());
        // A learning load manager asks again with each beacon; an epoch needs to be told once.
        if (beacon.learning || said != self.forwarded) && self.news.try_send(beacon).is_ok() {
            self.forwarded = said;
        }
    }

    fn choose_plane(&mut self) {
        let (before, plane) = (self.shared.lm_plane(), self.heart.lm_plane(self.clock.now()));
        if before != plane {
            self.shared.lm_plane.store(plane as u8, Ordering::Relaxed);
            tracing::warn!(?before, ?plane, "the load manager is silent on one plane; sending over the other");
        }
    }
}

/// The placement thread: computes what beacons name, and tells a load manager that starts.
fn adopt(shared: &Arc<Shared>, sockets: &Sockets, clock: Clock, beacons: &Queue<Beacon>, file: &Arc<KeysFile>) {
    let mut kept = shared.keys.told();
    let mut ownership = Ownership::new(shared.id, shared.boot, Placer::new(shared.keys.placement), shared.keys.clone());
    loop {
        let beacon = match beacons.recv_timeout(Duration::from_millis(200)) {
            Ok(beacon) => beacon,
            Err(RecvTimeoutError::Timeout) if !shared.is_stopping() => {
                ownership.tick(clock.now());
                publish(shared, &ownership);
                continue;
            }
            Err(_) => return,
        };
        if beacon.learning {
            report(shared, sockets, ownership.report(clock.now(), &beacon));
            continue;
        }
        match ownership.hear(clock.now(), &beacon) {
            Adoption::Nothing => {}
            Adoption::Adopted(epoch) => tracing::info!(%epoch, "placement adopted"),
            Adoption::Differs { epoch, ours, theirs } => {
                shared.placement_mismatches.fetch_add(1, Ordering::Relaxed);
                tracing::error!(%epoch, ours, theirs, "ALARM: this node computes another placement than the load manager");
            }
        }
        publish(shared, &ownership);
        let told = shared.keys.told();
        if told != kept {
            kept = told;
            keep(file, told);
        }
    }
}

/// By a thread of its own: no disk may hold up an epoch.
fn keep(file: &Arc<KeysFile>, told: Option<Generations>) {
    let (file, Some(stand)) = (file.clone(), told) else { return };
    let body = move || {
        if let Err(error) = file.keep(stand) {
            tracing::warn!(%error, "which keys stand could not be kept on disk");
        }
    };
    // Without a thread the next process of this node asks, as without a file.
    let _ = std::thread::Builder::new().name("keys".into()).spawn(body);
}

fn publish(shared: &Shared, ownership: &Ownership) {
    if !Arc::ptr_eq(&shared.placements.load(), ownership.placements()) {
        shared.placements.store(ownership.placements().clone());
    }
}

fn report(shared: &Shared, sockets: &Sockets, report: Report) {
    let message = Message::Report(report);
    for (plane, socket) in sockets.iter() {
        let bytes = frame::encode(&message, &shared.keys.plane, *plane);
        for ip in shared.rack.load_managers.iter().filter_map(|lm| Some((lm.planes.address(*plane)?, lm.control_port)))
        {
            let _ = socket.send_to(&bytes, SocketAddr::from(ip));
        }
    }
}
