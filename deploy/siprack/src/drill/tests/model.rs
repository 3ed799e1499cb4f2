//! A model of a rack, and whole drills against it: a stateless proxy that forks, and may be dead for a while, forget a call or
//! refuse what it should pass.

use crate::args::Login;
use crate::drill::{Charges, Drill, Findings, Half, Out, Phase, Plan, Side, State};
use bytes::Bytes;
use common::sip::{Reply, SipMessage};
use common::time::{Duration, Time};
use std::collections::BTreeMap;
use std::net::SocketAddr;

const VIP: &str = "127.0.0.1:5060";
const PORTS: [u16; 3] = [40_001, 40_002, 40_003];

/// What goes wrong after the death.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wrong {
    Nothing,
    /// Of this call nothing passes any more.
    Forgets(usize),
    /// Its BYEs are answered 481.
    Refuses(usize),
    /// A REGISTER is answered 403.
    Strangers,
}

struct Rack {
    wrong: Wrong,
    dead_until: Time,
    bindings: BTreeMap<String, Vec<SocketAddr>>,
    /// INVITEs that fork, as they were sent to each branch; nothing once one has answered.
    forks: BTreeMap<String, Vec<(SocketAddr, String)>>,
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn value<'t>(message: &'t str, name: &str) -> &'t str {
    let line = message.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
    line.unwrap_or_default()
}

impl Rack {
    /// What it sends on hearing this, and where to.
    fn hear(&mut self, now: Time, bytes: &Bytes, died: bool) -> Vec<(SocketAddr, String)> {
        let message = SipMessage::parse(bytes.clone(), &Default::default()).expect("the phones speak SIP");
        let told = text(bytes);
        let (call_id, method) = (value(&told, "Call-ID").to_string(), told.split(' ').next().unwrap_or_default());
        let is = |n: usize| died && call_id == format!("call-{n}");
        if now < self.dead_until || matches!(self.wrong, Wrong::Forgets(n) if is(n)) {
            return vec![];
        }
        let back: SocketAddr = sent_by(&told);
        match (method, self.wrong) {
            ("SIP/2.0", _) => self.back(&call_id, &told),
            ("BYE", Wrong::Refuses(n)) if is(n) => vec![(back, answer(&message, 481))],
            ("REGISTER", Wrong::Strangers) => vec![(back, answer(&message, 403))],
            ("REGISTER", _) => {
                let user = value(&told, "To").split(['@', ':']).nth(1).unwrap_or_default().to_string();
                self.bindings.entry(user).or_default().push(back);
                vec![(back, answer(&message, 200))]
            }
            _ => self.forward(&call_id, method, &told),
        }
    }

    /// To the address in the Request-URI, or to where the user is bound.
    fn forward(&mut self, call_id: &str, method: &str, told: &str) -> Vec<(SocketAddr, String)> {
        let uri = told.split(' ').nth(1).unwrap_or_default().trim_start_matches("sip:");
        let (user, host) = uri.split_once('@').unwrap_or_default();
        let bound = self.bindings.get(user).cloned().unwrap_or_default();
        let to = host.parse().map_or(bound, |address| vec![address]);
        let branch = value(told, "Via").split_once("branch=").map_or("", |(_, branch)| branch);
        let branch = branch.split(';').next().unwrap_or_default();
        let (first, rest) = told.split_once("\r\n").unwrap_or_default();
        let through = |to: SocketAddr| {
            let via = format!("Via: SIP/2.0/UDP {VIP};branch={branch}-{}", to.port());
            (to, format!("{first}\r\n{via}\r\n{rest}"))
        };
        let sent: Vec<_> = to.into_iter().map(through).collect();
        if method == "INVITE" && sent.len() > 1 {
            self.forks.insert(call_id.to_string(), sent.clone());
        }
        sent
    }

    /// A response goes where the next Via says; the first 200 of a fork ends its other branches.
    fn back(&mut self, call_id: &str, told: &str) -> Vec<(SocketAddr, String)> {
        let mut lines: Vec<&str> = told.split("\r\n").collect();
        let ours = lines.iter().position(|line| line.starts_with("Via: ")).expect("a response has a Via");
        let branch = lines.remove(ours).split_once("branch=").map_or("", |(_, branch)| branch);
        let rest = lines.join("\r\n");
        let mut out = Vec::new();
        if told.starts_with("SIP/2.0 200") && value(told, "CSeq").ends_with("INVITE") {
            for (to, invite) in self.forks.get_mut(call_id).map(std::mem::take).into_iter().flatten() {
                let invite = invite.split("\r\nContent-Type").next().unwrap_or_default();
                let cancel = invite.replacen("INVITE", "CANCEL", 1).replace(" INVITE", " CANCEL") + "\r\n\r\n";
                out.extend((!cancel.contains(&format!("branch={branch}"))).then_some((to, cancel)));
            }
        }
        // What answers our own CANCEL, and the 487 behind it, is for us.
        if rest.contains("\r\nVia: ") && !(told.starts_with("SIP/2.0 487") && self.forks.contains_key(call_id)) {
            out.push((sent_by(&rest), rest));
        }
        out
    }
}

fn answer(message: &SipMessage, status: u16) -> String {
    text(&Reply::to(message, status, Some("rack")).finish())
}

fn sent_by(message: &str) -> SocketAddr {
    let via = value(message, "Via").trim_start_matches("SIP/2.0/UDP ");
    via.split(';').next().and_then(|by| by.parse().ok()).expect("a Via has an address")
}

fn plan(calls: usize) -> Plan {
    let login = |user: &str| Login { user: user.into(), password: "secret".into() };
    Plan {
        vip: VIP.parse().unwrap(),
        domain: "rack.test".into(),
        users: [login("1019"), login("1020")],
        call_ids: (0..calls).map(|n| format!("call-{n}")).collect(),
        lines: PORTS.map(|port| SocketAddr::from(([127, 0, 0, 1], port))),
        seed: 7,
    }
}

/// The drill and the model under one clock.
struct Stage {
    now: Time,
    drill: Drill,
    rack: Rack,
    died: bool,
}

impl Stage {
    fn carry(&mut self, out: &mut Vec<Out>) -> Result<(), String> {
        let mut rounds = 0;
        while !out.is_empty() {
            rounds += 1;
            assert!(rounds < 1000, "they never stop talking");
            for Out { bytes, .. } in std::mem::take(out) {
                for (to, said) in self.rack.hear(self.now, &bytes, self.died) {
                    let at = PORTS.iter().position(|port| *port == to.port()).expect("to one of the phones");
                    let from = VIP.parse().unwrap();
                    self.drill.handle(self.now, Side::ALL[at], from, Bytes::from(said), out)?;
                }
            }
        }
        Ok(())
    }

    fn until(&mut self, wanted: State) -> Result<(), String> {
        let end = self.now + Duration::from_secs(200);
        let mut out = Vec::new();
        while *self.drill.state() != wanted {
            self.drill.tick(self.now, &mut out)?;
            self.carry(&mut out)?;
            let due = self.drill.next_due().unwrap_or(self.now);
            self.now = due.max(self.now + Duration::from_millis(1)).min(self.now + Duration::from_millis(100));
            assert!(self.now < end, "still {:?}", self.drill.state());
        }
        Ok(())
    }
}

/// A drill of that many calls; the node's calls stand still for 100 ms.
fn drilled(calls: usize, wrong: Wrong) -> Result<Findings, String> {
    let rack = Rack { wrong, dead_until: Time(0), bindings: BTreeMap::new(), forks: BTreeMap::new() };
    let mut stage = Stage { now: Time(1_000_000), drill: Drill::new(&plan(calls)), rack, died: false };
    let mut out = Vec::new();
    stage.drill.begin(stage.now, &mut out);
    stage.carry(&mut out)?;
    stage.until(State::Ready)?;
    stage.drill.fire(stage.now, Half::Before, &mut out);
    stage.rack.dead_until = stage.now + Duration::from_millis(100);
    stage.died = true;
    stage.drill.fire(stage.now, Half::Behind, &mut out);
    stage.carry(&mut out)?;
    stage.drill.died(stage.now);
    stage.until(State::Proved)?;
    let findings = stage.drill.findings(2, Some(stage.now), None);
    stage.drill.leave(stage.now, &mut out);
    stage.carry(&mut out)?;
    stage.until(State::Over)?;
    assert!(!stage.drill.is_charged(&Charges::default()) || findings.lost() == calls, "no CDR was read");
    Ok(findings)
}

fn losses(findings: &Findings) -> Vec<(Phase, &str)> {
    findings.calls.iter().filter_map(|call| Some((call.phase, call.lost.as_deref()?))).collect()
}

#[test]
fn all_go_on_in_a_rack_that_stands_still_for_a_moment() {
    let findings = drilled(24, Wrong::Nothing).unwrap();
    assert_eq!(losses(&findings), []);
    let json = findings.json();
    assert_eq!((&json["held"], &json["setup"], &json["lost"]), (&8.into(), &16.into(), &0.into()));
    let takeover = json["takeover_ms"].as_u64().unwrap_or(0);
    // It asks nobody again, so that ringing calls move when they are answered.
    assert!((500..1500).contains(&takeover), "{json}");
    assert_eq!(json["phases"][5]["last_ms"], 500, "a BYE that was under way is repeated after 500 ms");
    assert!(findings.calls.iter().all(|call| call.moved.is_some_and(|moved| moved.as_millis() >= 100)));
}

#[test]
fn a_call_that_the_rack_forgets_is_lost_whatever_its_phase() {
    for (n, phase) in Phase::ALL.into_iter().enumerate() {
        let findings = drilled(12, Wrong::Forgets(n)).unwrap();
        let lost = losses(&findings);
        assert!(matches!(lost[..], [(which, why)] if which == phase && why.contains("32 s")), "{phase:?}: {lost:?}");
    }
}

#[test]
fn a_bye_that_is_refused_is_a_loss() {
    for n in [4, 5] {
        let findings = drilled(6, Wrong::Refuses(n)).unwrap();
        assert_eq!(losses(&findings), [(Phase::of(n), "the BYE was refused with 481")]);
        assert!(findings.text().contains("cc-node 2 is killed"), "the ladder of the call is shown");
    }
}

#[test]
fn a_drill_whose_phones_are_refused_is_not_run() {
    let why = drilled(6, Wrong::Strangers).err().unwrap_or_default();
    assert_eq!(why, "1019 could not be registered: REGISTER was refused with 403");
}
