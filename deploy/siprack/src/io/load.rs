//! `siprack load`: sockets, clock and progress bar of the load generator. `benches/` uses [`Field`] by itself.

use super::terminal::{print, print_lines};
use crate::args::{Load, LoadKind};
use crate::failure::{Failure, exit};
use crate::load::{Engine, Kind, Pace, Plan, Side, Tally, Users, Wire};
use common::io::clock::Clock;
use common::io::poll;
use common::io::udp::{self, Receiver, SendBatch};
use common::time::{Duration, Time};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::AsFd;

/// Longest datagram that is read; with a distance that spreads the buffers over the cache.
const DATAGRAM: usize = 8192 + 17 * 64;
/// Batches read from one side before the other has its turn.
const BATCHES: usize = 4;
/// Progress is shown, and a caller asked whether it has enough, this often at least.
const ROUND: Duration = Duration::from_millis(100);
/// Without new calls, what is open is waited for no longer than the longest transaction and the hold.
const DRAIN: Duration = Duration::from_secs(40);
/// Registrations open at a time before the calls begin.
const REGISTERING: u64 = 64;
const DEFAULT_WINDOW: u64 = 64;
const RATE_WINDOW: u64 = 100_000;
const DEFAULT_LENGTH: Duration = Duration::from_secs(10);

/// Two sockets and what waits to leave them.
pub struct Field {
    clock: Clock,
    sockets: [UdpSocket; 2],
    receiver: Receiver,
    outgoing: Outgoing,
    pub addresses: [SocketAddr; 2],
}

struct Outgoing([SendBatch; 2]);

impl Wire for Outgoing {
    fn send(&mut self, from: Side, to: SocketAddr, message: &[u8]) {
        self.0[from as usize].push(to, &[], message);
    }
}

impl Field {
    /// The calling side has any port on the address that reaches `target`; so has the called side without `uas`.
    pub fn open(target: SocketAddr, uas: Option<SocketAddr>) -> std::io::Result<Field> {
        let own = SocketAddr::new(address_towards(target)?, 0);
        let sockets = [udp::bind(own, false)?, udp::bind(uas.unwrap_or(own), false)?];
        let addresses = [sockets[0].local_addr()?, sockets[1].local_addr()?];
        Ok(Field {
            clock: Clock::new(),
            sockets,
            receiver: Receiver::with_size(DATAGRAM),
            outgoing: Outgoing([SendBatch::new(), SendBatch::new()]),
            addresses,
        })
    }

    pub fn now(&self) -> Time {
        self.clock.now()
    }

    /// Drives the engine until it is done or `enough` says so (asked at least ten times a second); how long it took.
    pub fn drive(
        &mut self,
        engine: &mut Engine,
        mut enough: impl FnMut(&Engine, Duration) -> bool,
    ) -> std::io::Result<Duration> {
        let origin = self.clock.now();
        let (mut ready, mut more, mut asked) = (vec![true, true], true, origin);
        loop {
            let mut now = self.clock.now();
            engine.tick(now, &mut self.outgoing);
            self.flush();
            if now.since(asked) >= ROUND || engine.is_done(now) {
                asked = now;
                if enough(engine, now.since(origin)) || engine.is_done(now) {
                    return Ok(now.since(origin));
                }
            }
            let patience = engine.next_due(now).map_or(ROUND, |due| due.since(now).min(ROUND));
            let fds = [self.sockets[0].as_fd(), self.sockets[1].as_fd()];
            poll::readable(&fds, if more { Duration::ZERO } else { patience }, &mut ready)?;
            more = false;
            for side in [Side::Callee, Side::Caller] {
                for _ in (0..BATCHES).take_while(|_| ready[side as usize]) {
                    let count = self.receiver.recv(&self.sockets[side as usize])?;
                    now = self.clock.now();
                    for datagram in self.receiver.iter() {
                        engine.handle(now, side, datagram.from, datagram.bytes, &mut self.outgoing);
                    }
                    self.flush();
                    more |= count == udp::BATCH;
                    if count < udp::BATCH {
                        break;
                    }
                }
            }
        }
    }

    /// What the kernel does not take is lost, as on any network: the repeats make up for it.
    fn flush(&mut self) {
        for (batch, socket) in self.outgoing.0.iter_mut().zip(&self.sockets) {
            if !batch.is_empty() {
                batch.flush(socket);
            }
        }
    }
}

pub(super) fn address_towards(target: SocketAddr) -> std::io::Result<IpAddr> {
    let any: SocketAddr = if target.is_ipv4() { ([0, 0, 0, 0], 0).into() } else { ([0u16; 8], 0).into() };
    let probe = UdpSocket::bind(any)?;
    probe.connect(target)?;
    Ok(probe.local_addr()?.ip())
}

/// 0 if nothing failed, else 1.
pub fn run(args: &Load) -> Result<u8, Failure> {
    let broken = |e: std::io::Error| Failure::new(exit::FAILED, format!("load on {}: {e}", args.target));
    let mut field = Field::open(args.target, args.uas).map_err(|e| {
        let uas = args.uas.map(|uas| format!(" and {uas}")).unwrap_or_default();
        Failure::new(exit::FAILED, format!("no sockets towards {}{uas}: {e}", args.target))
    })?;
    let plan = plan(args, &field);
    let (kind, pace) = (plan.kind, plan.pace);
    let mut engine = Engine::new(plan);
    if kind == Kind::Calls && !args.unregistered {
        register(&mut field, &mut engine, args).map_err(broken)??;
        engine.turn_to(kind, pace);
    }
    let bar = bar(&pace);
    let took = field
        .drive(&mut engine, |engine, since| {
            show(&bar, engine.tally(), &pace, since);
            let over =
                pace.duration.is_some_and(|length| since > length + DRAIN + engine.plan().ring + engine.plan().hold);
            let nobody = since > DRAIN && engine.tally().received == 0;
            over || nobody
        })
        .map_err(broken)?;
    bar.finish_and_clear();
    report(args, kind, engine.tally(), took)?;
    Ok(u8::from(engine.tally().finished != engine.tally().started))
}

fn plan(args: &Load, field: &Field) -> Plan {
    let seconds = Duration::from_secs_f64;
    let duration = args.duration.map(seconds).or(args.calls.is_none().then_some(DEFAULT_LENGTH));
    let window = if args.rate.is_some() { RATE_WINDOW } else { DEFAULT_WINDOW };
    let pace = Pace { rate: args.rate, window: args.window.unwrap_or(window), count: args.calls, duration };
    let kind = match args.kind {
        LoadKind::Calls => Kind::Calls,
        LoadKind::Register => Kind::Registrations,
        LoadKind::Options => Kind::Options,
    };
    Plan {
        kind,
        target: args.target,
        domain: args.domain.clone(),
        users: Users::new(&args.first_user, args.users),
        password: args.password.clone(),
        caller: field.addresses[0],
        callee: field.addresses[1],
        pace,
        ring: seconds(args.ring),
        hold: seconds(args.hold),
        run: run_number(),
    }
}

/// Another one for every run of every process.
pub(super) fn run_number() -> u64 {
    let clock = Clock::new();
    clock.wall().0 << 16 | u64::from(std::process::id() & 0xFFFF)
}

/// Registers the called users; a rack that refuses them would refuse every call.
fn register(field: &mut Field, engine: &mut Engine, args: &Load) -> std::io::Result<Result<(), Failure>> {
    let pace = Pace { rate: None, window: REGISTERING, count: Some(args.users), duration: None };
    engine.turn_to(Kind::Registrations, pace);
    field.drive(engine, |engine, since| since > DRAIN && engine.tally().received == 0)?;
    let tally = engine.tally();
    if tally.finished == args.users {
        return Ok(Ok(()));
    }
    let why = tally.failures.iter().map(|(why, n)| format!("{n} × {why}")).collect::<Vec<_>>().join(", ");
    let advice = "give --password, --first-user and --users that the server knows, or --unregistered";
    let said = if why.is_empty() { "no answer".to_string() } else { why };
    Ok(Err(Failure::new(exit::FAILED, format!("users could not be registered at {}: {said}\n{advice}", args.target))))
}

fn bar(pace: &Pace) -> ProgressBar {
    let length = pace.count.or(pace.duration.map(|d| d.as_millis() as u64)).unwrap_or(0);
    let bar = ProgressBar::new(length);
    if let Ok(style) = ProgressStyle::with_template("{bar:40} {percent:>3} %  {msg}") {
        bar.set_style(style);
    }
    bar
}

fn show(bar: &ProgressBar, tally: &Tally, pace: &Pace, since: Duration) {
    bar.set_position(if pace.count.is_some() { tally.started } else { since.as_millis() as u64 });
    let rate = tally.finished as f64 / since.as_secs_f64().max(0.001);
    bar.set_message(format!("{rate:.0}/s  {} open  {} failed", tally.open(), tally.failed()));
}

fn report(args: &Load, kind: Kind, tally: &Tally, took: Duration) -> Result<u8, Failure> {
    let seconds = took.as_secs_f64();
    if args.json {
        let mut value = tally.json(seconds);
        value["kind"] = json!(kind.name());
        value["target"] = json!(args.target.to_string());
        value["open"] = json!(tally.open());
        return print(&value.to_string());
    }
    let mut lines = tally.lines(kind.name(), seconds);
    if tally.open() > 0 {
        lines.push(format!("  {} had no end when the time was over", tally.open()));
    }
    print_lines(&lines);
    Ok(0)
}
