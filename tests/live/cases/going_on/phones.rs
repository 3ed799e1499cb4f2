//! Phones that are in every phase of a call at any time: SIPp, a process for each kind of call and side. They behave as
//! RFC 3261 says when something comes again: a ringing INVITE gets its newest response, an answered one its 200 until the
//! ACK is there, a 200 its ACK, a CANCEL and a BYE their 200.

use super::rack::{PHONES, VIP};
use crate::cases::ownership::phones::REGISTER;
use crate::namespaces::Host;
use crate::process::Running;
use crate::script::{NO_BODY, Script, answer_text, sdp};
use crate::sipp::figures;
use rustix::process::Signal;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

const USERS: u16 = 50;
/// A message that has not come for longer than a transaction lives (64 × T1) will not come.
const PATIENCE_MS: &str = "40000";
/// What has ended is known again for so long: a refusal gets its ACK, a BYE its 200 (RFC 3261 §17, timers D and J).
const LINGER_MS: u32 = 32_000;

/// A 180 may be lost: nobody repeats it.
const LOST: &str = " timeout=\"3000\" ontimeout=\"5\"";

/// Calls a second of each kind, and how long a steady one is held.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    pub steady: u32,
    pub hold_ms: u32,
    pub patient: u32,
    pub cancelled: u32,
    pub forked: u32,
    pub registrations: u32,
}

impl Load {
    pub fn rate(&self) -> u32 {
        self.steady + self.patient + self.cancelled + self.forked
    }
}

/// Answered after 0.3 s, changed by a re-INVITE halfway.
const STEADY: Kind = Kind { name: "steady", first_user: 3001, callers: 5080, callees: &[5070] };
/// Rings for 20 s.
const PATIENT: Kind = Kind { name: "patient", first_user: 4001, callers: 5081, callees: &[5071] };
/// Its caller gives up after 2 s.
const CANCELLED: Kind = Kind { name: "cancelled", first_user: 5001, callers: 5082, callees: &[5072] };
/// Two phones ring; the first answers after 1 s and hangs up in the end.
const FORKED: Kind = Kind { name: "forked", first_user: 6001, callers: 5083, callees: &[5073, 5074] };
/// No calls: they say where they are.
const REGISTERING: Kind = Kind { name: "registering", first_user: 7001, callers: 5084, callees: &[] };

struct Kind {
    name: &'static str,
    first_user: u16,
    callers: u16,
    /// Where its callees have registered.
    callees: &'static [u16],
}

pub struct Phones<'a> {
    host: &'a Host,
    work: &'a Path,
    load: Load,
    _callees: Vec<Running>,
    callers: Vec<(Running, PathBuf)>,
}

impl<'a> Phones<'a> {
    /// All callees are registered and answer.
    pub fn new(host: &'a Host, work: &'a Path, load: Load) -> Result<Phones<'a>, String> {
        let mut phones = Phones { host, work, load, _callees: Vec::new(), callers: Vec::new() };
        for kind in [STEADY, PATIENT, CANCELLED, FORKED, REGISTERING] {
            let lines: String = (0..USERS).map(|n| format!("{};{}\n", 2001 + n, kind.first_user + n)).collect();
            let path = phones.pairs(&kind);
            std::fs::write(&path, format!("SEQUENTIAL\n{lines}")).map_err(|e| format!("{}: {e}", path.display()))?;
        }
        let mut registering = Vec::new();
        for kind in [STEADY, PATIENT, CANCELLED, FORKED] {
            for port in kind.callees {
                let script = Script::callee(&format!("registers-{port}"));
                let script = script.send(REGISTER, true).provisional("100").response("200");
                let (count, pairs) = (USERS.to_string(), phones.pairs(&kind).to_string_lossy().into_owned());
                let options = ["-inf", &pairs, "-r", "50", "-m", &count, "-timeout", "30", "-timeout_error"];
                registering.push(phones.sipp(&script, *port, &[&options[..], &[&VIP.to_string()]].concat())?);
            }
        }
        for mut one in registering {
            let status = one.wait(Duration::from_secs(40))?;
            if !status.success() {
                return Err(format!("callees could not register: {} ended with {status}\n{}", one.name, one.tail(30)));
            }
        }
        for (port, script) in [
            (5070, answering("steady-callee", 300)),
            (5071, answering("patient-callee", 20_000)),
            (5072, never_answering("cancelled-callee")),
            (5073, hanging_up("forked-callee", 1_000, 6_000)),
            (5074, never_answering("forked-loser")),
        ] {
            let callee = phones.sipp(&script, port, &[])?;
            phones._callees.push(callee);
        }
        Ok(phones)
    }

    /// From now on calls are made.
    pub fn call(&mut self) -> Result<(), String> {
        let load = self.load;
        let script = |kind: &Kind| Script::caller(kind.name, "[field0]@rack.test").strict();
        let offer = |kind: &Kind| script(kind).begin_trusted("INVITE", "[field1]", &sdp("sendrecv"));
        let answered = |kind: &Kind| offer(kind).provisional("180").dialog_by("200").within("ACK", NO_BODY);
        let half = load.hold_ms / 2;
        let steady = answered(&STEADY).pause(half).done_within("INVITE", &sdp("sendrecv")).pause(half);
        let patient = answered(&PATIENT).pause(3_000);
        let cancelled = offer(&CANCELLED).response_with("180", LOST).label(5).pause(2_000).cancel("[field1]");
        let forked = answered(&FORKED).serve("BYE").linger(LINGER_MS);
        let registering = Script::caller(REGISTERING.name, "").send(REGISTER, true).provisional("100").response("200");
        for (kind, rate, script) in [
            (&STEADY, load.steady, steady.done_within("BYE", NO_BODY).linger(LINGER_MS)),
            (&PATIENT, load.patient, patient.done_within("BYE", NO_BODY).linger(LINGER_MS)),
            (&CANCELLED, load.cancelled, refused_after_cancel(cancelled).linger(LINGER_MS)),
            (&FORKED, load.forked, forked),
            (&REGISTERING, load.registrations, registering),
        ] {
            let statistics = self.work.join(format!("{}-statistics.csv", kind.name));
            let (rate, kept) = (rate.to_string(), statistics.to_string_lossy().into_owned());
            let pairs = self.pairs(kind).to_string_lossy().into_owned();
            let pace = ["-inf", &pairs, "-r", &rate, "-l", "5000", "-recv_timeout", PATIENCE_MS];
            let options = ["-trace_stat", "-stf", &kept, "-fd", "1"];
            let vip = VIP.to_string();
            let all = [&pace[..], &options, &[&vip]].concat();
            let caller = self.sipp(&script, kind.callers, &all)?;
            self.callers.push((caller, statistics));
        }
        Ok(())
    }

    /// No more calls from now on; waits for the end of those that are under way. What SIPp says of them: how many, and how
    /// many it takes for failed.
    pub fn finish(&mut self) -> Result<String, String> {
        for (caller, _) in &self.callers {
            caller.signal(Signal::USR1);
        }
        let mut said = String::new();
        for (caller, statistics) in &mut self.callers {
            // One of which a call failed ends with 1: the wire says whether that was ours.
            caller.wait(Duration::from_secs(150))?;
            let figures = figures(statistics)?;
            let figure = |name: &str| {
                let found = figures.get(name).copied();
                found.ok_or(format!("{} has no number for {name}:\n{}", statistics.display(), caller.tail(30)))
            };
            let (good, bad) = (figure("SuccessfulCall(C)")?, figure("FailedCall(C)")?);
            let _ = write!(said, " {} {}", caller.name.trim_start_matches("sipp "), good + bad);
            if bad > 0 {
                let _ = write!(said, " ({bad} failed for SIPp)");
            }
        }
        Ok(said)
    }

    fn pairs(&self, kind: &Kind) -> PathBuf {
        self.work.join(format!("{}-pairs.csv", kind.name))
    }

    fn sipp(&self, script: &Script, port: u16, options: &[&str]) -> Result<Running, String> {
        let (name, scenario) = (script.name(), script.write(self.work)?);
        let mut command = self.host.command("sipp");
        command.current_dir(self.work).arg("-sf").arg(scenario);
        command.args(["-i", &PHONES.to_string(), "-p", &port.to_string(), "-nostdin", "-rtcheck", "loose"]);
        // What it does not await is for the wire's checker to judge; SIPp would end the call.
        command.args(["-default_behaviors", "all,-abortunexp", "-trace_err", "-error_file", &format!("{name}.err")]);
        command.args(options);
        Running::start(&format!("sipp {name}"), &mut command)
    }
}

/// A 200, said each 500 ms until its ACK is there; what follows begins at the next label. SIPp's own repetition would keep it
/// from answering anything else meanwhile.
fn until_acknowledged(script: Script, label: u32, text: &str) -> Script {
    script
        .label(label)
        .send(text, false)
        .element(&format!(
            "<recv request=\"INVITE\" optional=\"true\" next=\"{label}\" timeout=\"500\" ontimeout=\"{label}\"/>"
        ))
        .request("ACK")
}

/// Rings, answers, and serves re-INVITEs until a BYE.
fn answering(name: &str, ring_ms: u32) -> Script {
    let script = Script::callee(name).request("INVITE").answer("180 Ringing", true, NO_BODY).pause(ring_ms);
    // What still comes of the first INVITE is absorbed (RFC 6026 §7.1): only a re-INVITE has a tag in To.
    let look = "<action><ereg regexp=\"tag=\" search_in=\"hdr\" header=\"To:\" assign_to=\"within\"/></action>";
    let script = until_acknowledged(script, 1, &answer_text("200 OK", true, &sdp("sendrecv")))
        .label(2)
        .element("<recv request=\"ACK\" optional=\"true\"/>")
        .element(&format!("<recv request=\"INVITE\" optional=\"true\" next=\"3\">{look}</recv>"))
        .element("<recv request=\"BYE\" next=\"5\"/>")
        .label(3)
        .element("<nop test=\"within\" next=\"4\"/>")
        .element("<nop next=\"2\"/>");
    until_acknowledged(script, 4, &answer_text("200 OK", false, &sdp("sendrecv")))
        .element("<nop next=\"2\"/>")
        .label(5)
        .answer("200 OK", false, NO_BODY)
        .linger(LINGER_MS)
}

/// Rings, answers, and hangs up.
fn hanging_up(name: &str, ring_ms: u32, hold_ms: u32) -> Script {
    let script = Script::callee(name).strict().dialog_begins("INVITE").answer("180 Ringing", true, NO_BODY);
    until_acknowledged(script.pause(ring_ms), 1, &answer_text("200 OK", true, &sdp("sendrecv")))
        .pause(hold_ms)
        .done_within("BYE", NO_BODY)
        .linger(LINGER_MS)
}

/// Rings until it is cancelled.
fn never_answering(name: &str) -> Script {
    Script::callee(name)
        .dialog_begins("INVITE")
        .answer("180 Ringing", true, NO_BODY)
        .request("CANCEL")
        .answer("200 OK", true, NO_BODY)
        // As long as a person's phone takes to stop.
        .pause(400)
        .label(1)
        .terminated_once()
        .label(2)
        .element("<recv request=\"CANCEL\" optional=\"true\" next=\"3\" timeout=\"500\" ontimeout=\"1\"/>")
        .element("<recv request=\"INVITE\" optional=\"true\" next=\"1\"/>")
        .element("<recv request=\"ACK\" next=\"4\"/>")
        .label(3)
        .answer("200 OK", true, NO_BODY)
        .element("<nop next=\"2\"/>")
        .label(4)
        .linger(LINGER_MS)
}

/// The caller's: 200 to its CANCEL and 487 to its INVITE, in whatever order.
fn refused_after_cancel(script: Script) -> Script {
    script
        .element("<recv response=\"487\" response_txn=\"INVITE1\" optional=\"true\" next=\"1\"/>")
        .element("<recv response=\"200\" response_txn=\"CANCEL1\"/>")
        .element("<recv response=\"487\" response_txn=\"INVITE1\"/>")
        .label(1)
        .ack_refusal("sip:[field1]@rack.test")
}
