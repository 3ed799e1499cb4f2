//! `siprack try`: two built-in phones register through the VIP and one calls the other. Prints the SIP ladder; right
//! only if every step was.

use crate::ladder::{Ladder, label};
use crate::phone::{Effect, Event, Order, Phone, Pickup, Settings};
use bytes::Bytes;
use common::time::{Duration, Time};
use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};
use std::time::Instant;

/// How long one step may take; a step that was answered takes milliseconds.
const STEP_PATIENCE: Duration = Duration::from_secs(8);
const RINGS_FOR: Duration = Duration::from_millis(300);
const TALKS_FOR: Duration = Duration::from_millis(300);

/// Where to call and as whom.
pub struct Plan {
    pub vip: SocketAddr,
    pub domain: String,
    /// (user, password)
    pub caller: (String, String),
    pub callee: (String, String),
}

/// What happened: the ladder, and the first step that went wrong.
pub struct Outcome {
    pub ladder: Ladder,
    pub steps: Vec<&'static str>,
    pub failure: Option<String>,
}

/// Runs the plan. `Err` only if no socket can be had.
pub fn run(plan: &Plan) -> std::io::Result<Outcome> {
    let mut stage = Stage::new(plan)?;
    let mut steps = Vec::new();
    let failure = stage.play(&mut steps).err();
    Ok(Outcome { ladder: stage.ladder, steps, failure })
}

const CALLER: usize = 0;
const CALLEE: usize = 1;

/// Two phones, their sockets, and what was seen between them and the rack.
struct Stage {
    callee: String,
    names: [String; 2],
    sockets: [UdpSocket; 2],
    phones: [Phone; 2],
    origin: Instant,
    ladder: Ladder,
    events: Vec<(usize, Event)>,
}

impl Stage {
    fn new(plan: &Plan) -> std::io::Result<Stage> {
        let sockets = [socket_towards(plan.vip)?, socket_towards(plan.vip)?];
        let seed = u64::from(std::process::id()) << 32 | u64::from(sockets[0].local_addr()?.port());
        let phone = |who: &(String, String), socket: &UdpSocket, n: u64| -> std::io::Result<Phone> {
            Ok(Phone::new(Settings {
                user: who.0.clone(),
                domain: plan.domain.clone(),
                password: who.1.clone(),
                local: socket.local_addr()?,
                proxy: plan.vip,
                pickup: Pickup::After(RINGS_FOR),
                seed: seed.wrapping_mul(2).wrapping_add(n),
            }))
        };
        let phones = [phone(&plan.caller, &sockets[0], 0)?, phone(&plan.callee, &sockets[1], 1)?];
        let names = [plan.caller.0.clone(), plan.callee.0.clone()];
        let ladder = Ladder::new(&[&names[0], "siprack", &names[1]]);
        let callee = plan.callee.0.clone();
        Ok(Stage { callee, names, sockets, phones, origin: Instant::now(), ladder, events: Vec::new() })
    }

    fn play(&mut self, steps: &mut Vec<&'static str>) -> Result<(), String> {
        for who in [CALLEE, CALLER] {
            self.order(who, Order::Register { expires_s: 120 });
            self.expect(who, "registered", |e| matches!(e, Event::Registered { .. }))?;
        }
        steps.push("both phones registered");
        let call = self.order(CALLER, Order::Call { to: self.callee.clone() }).unwrap_or_default();
        self.expect(CALLEE, "rings", |e| matches!(e, Event::Incoming { .. }))?;
        self.expect(CALLER, "hears ringing", |e| matches!(e, Event::Ringing { .. }))?;
        steps.push("the callee rang");
        self.expect(CALLER, "answered", |e| matches!(e, Event::Answered { .. }))?;
        self.expect(CALLEE, "got the ACK", |e| matches!(e, Event::Confirmed { .. }))?;
        steps.push("the call was answered");
        self.run_for(TALKS_FOR);
        self.order(CALLER, Order::Reinvite { call_id: call.clone() });
        self.expect(CALLER, "re-INVITE answered", |e| matches!(e, Event::Reinvited { status: 200, .. }))?;
        steps.push("a re-INVITE reached the callee");
        self.order(CALLEE, Order::Hangup { call_id: call });
        self.expect(CALLER, "saw the BYE", |e| matches!(e, Event::EndedByPeer { .. }))?;
        self.expect(CALLEE, "BYE answered", |e| matches!(e, Event::Ended { status: 200, .. }))?;
        steps.push("the callee hung up");
        for who in [CALLEE, CALLER] {
            self.order(who, Order::Register { expires_s: 0 });
            self.expect(who, "removed its contact", |e| matches!(e, Event::Registered { .. }))?;
        }
        steps.push("both contacts removed");
        Ok(())
    }

    fn order(&mut self, who: usize, order: Order) -> Option<String> {
        let mut out = Vec::new();
        let now = self.now();
        let call_id = self.phones[who].order(now, order, &mut out);
        self.carry_out(who, out);
        call_id
    }

    /// Runs until a phone reports what is waited for; an event that means the opposite ends the wait at once.
    fn expect(&mut self, who: usize, what: &str, wanted: fn(&Event) -> bool) -> Result<(), String> {
        let end = self.now() + STEP_PATIENCE;
        loop {
            if let Some(at) = self.events.iter().position(|(w, e)| *w == who && wanted(e)) {
                self.events.remove(at);
                return Ok(());
            }
            let bad =
                self.events.iter().find_map(|(w, e)| failure(e).map(|text| format!("{}: {text}", self.names[*w])));
            if let Some(text) = bad {
                return Err(format!("expected at {}: {what}; but {text}", self.names[who]));
            }
            if self.now() > end {
                return Err(format!(
                    "expected at {}: {what}; nothing came within {} s",
                    self.names[who],
                    STEP_PATIENCE.as_secs()
                ));
            }
            self.turn();
        }
    }

    fn run_for(&mut self, duration: Duration) {
        let end = self.now() + duration;
        while self.now() < end {
            self.turn();
        }
    }

    /// Takes what has arrived at either phone and does what is due.
    fn turn(&mut self) {
        for who in [CALLER, CALLEE] {
            let mut buffer = [0u8; 65_535];
            let received = self.sockets[who].recv_from(&mut buffer);
            let now = self.now();
            let mut out = Vec::new();
            match received {
                Ok((length, from)) => {
                    let at_ms = now.0 as f64 / 1000.0;
                    self.ladder.message(at_ms, "siprack", &self.names[who], label(&buffer[..length]));
                    self.phones[who].handle(now, from, Bytes::copy_from_slice(&buffer[..length]), &mut out);
                }
                // Nothing there yet, or the rack's port is closed for the moment: the phone repeats.
                Err(e)
                    if matches!(
                        e.kind(),
                        ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::ConnectionRefused
                    ) => {}
                Err(e) => self.ladder.note(now.0 as f64 / 1000.0, format!("{}: {e}", self.names[who])),
            }
            self.phones[who].tick(now, &mut out);
            self.carry_out(who, out);
        }
    }

    fn carry_out(&mut self, who: usize, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Event(event) => self.events.push((who, event)),
                Effect::Send { to, bytes } => {
                    let at_ms = self.now().0 as f64 / 1000.0;
                    self.ladder.message(at_ms, &self.names[who], "siprack", label(&bytes));
                    if let Err(e) = self.sockets[who].send_to(&bytes, to) {
                        self.ladder.note(at_ms, format!("{} could not send to {to}: {e}", self.names[who]));
                    }
                }
            }
        }
    }

    fn now(&self) -> Time {
        Time(self.origin.elapsed().as_micros() as u64)
    }
}

/// Events that mean that a step went wrong, in words.
fn failure(event: &Event) -> Option<String> {
    match event {
        Event::RegisterRefused { status } => Some(format!("REGISTER was refused with {status}")),
        Event::Refused { status, .. } => Some(format!("the call was refused with {status}")),
        Event::TimedOut { method, .. } => Some(format!("{method} was not answered for 32 s")),
        Event::RangTwice { .. } => Some("the same call rang twice".to_string()),
        Event::Reinvited { status, .. } if *status != 200 => Some(format!("the re-INVITE was refused with {status}")),
        Event::Ended { status, .. } if *status != 200 => Some(format!("the BYE was refused with {status}")),
        Event::Garbage { why } => Some(format!("it received what is no SIP: {why}")),
        _ => None,
    }
}

/// A socket with the local address from which the VIP is reached.
fn socket_towards(vip: SocketAddr) -> std::io::Result<UdpSocket> {
    let any = if vip.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let probe = UdpSocket::bind(any)?;
    probe.connect(vip)?;
    let socket = UdpSocket::bind(SocketAddr::new(probe.local_addr()?.ip(), 0))?;
    socket.set_read_timeout(Some(Duration::from_millis(2)))?;
    Ok(socket)
}
