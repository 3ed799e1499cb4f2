//! Phones that call one another without passwords: SIPp on a host of its own, callees that ring and answer, callers at
//! a steady rate until they are told to end.

use crate::namespaces::Host;
use crate::process::Running;
use crate::script::{NO_BODY, Script, sdp};
use crate::sipp::figures;
use rustix::process::Signal;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Calls a second, and how long each rings and is held: 65 are under way.
const RATE: u64 = 50;
const RING_MS: u32 = 300;
const HOLD_MS: u32 = 1000;
const USERS: u16 = 100;
/// A BYE that comes again, since the node that had its 200 has died, is answered again for so long (RFC 3261 §17.2.2).
const TIMER_J_MS: u32 = 32_000;
/// A message that has not come for longer than a transaction lives (64 × T1) will not come.
const PATIENCE_MS: &str = "35000";

const CALLEES: &str = "5070";
const CALLERS: &str = "5080";

/// The callees' registrations; nobody asks for a password.
pub const REGISTER: &str = "REGISTER sip:rack.test SIP/2.0\n\
    Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch];rport\n\
    Max-Forwards: 70\n\
    From: <sip:[field1]@rack.test>;tag=[pid]r[call_number]\n\
    To: <sip:[field1]@rack.test>\n\
    Call-ID: [call_id]\n\
    CSeq: 1 REGISTER\n\
    Contact: <sip:[field1]@[local_ip]:[local_port]>\n\
    Expires: 3600\n\
    Content-Length: 0\n\n";

pub struct Phones<'a> {
    host: &'a Host,
    vip: String,
    work: &'a Path,
    /// SIPp's list: who calls (`field0`) whom (`field1`).
    pairs: String,
}

/// Callers at work.
pub struct Calling {
    sipp: Running,
    began: Instant,
    statistics: PathBuf,
}

/// What their calls came to.
pub struct Outcome {
    pub calls: u64,
    pub failed: u64,
    /// SIPp's own words for the failures, in brackets.
    pub why: String,
}

impl<'a> Phones<'a> {
    pub fn new(host: &'a Host, vip: &str, work: &'a Path) -> Result<Phones<'a>, String> {
        let lines: String = (0..USERS).map(|n| format!("{};{}\n", 2001 + n, 3001 + n)).collect();
        let path = work.join("pairs.csv");
        std::fs::write(&path, format!("SEQUENTIAL\n{lines}")).map_err(|e| format!("{}: {e}", path.display()))?;
        Ok(Phones { host, vip: vip.to_string(), work, pairs: path.to_string_lossy().into_owned() })
    }

    /// All callees, from the port at which they answer.
    pub fn register(&self) -> Result<(), String> {
        let script = Script::callee("registrations").send(REGISTER, true).provisional("100").response("200");
        let count = USERS.to_string();
        let options = ["-inf", &self.pairs, "-r", "100", "-m", &count, "-timeout", "30", "-timeout_error", &self.vip];
        let mut registering = self.sipp(&script, CALLEES, &options)?;
        let status = registering.wait(Duration::from_secs(40))?;
        if status.success() {
            return Ok(());
        }
        Err(format!("the callees could not register: sipp ended with {status}\n{}", registering.tail(30)))
    }

    /// Callees, until this is dropped.
    pub fn answer(&self) -> Result<Running, String> {
        let script = Script::callee("callees")
            .request("INVITE")
            .answer("180 Ringing", true, NO_BODY)
            .pause(RING_MS)
            .answer("200 OK", true, &sdp("sendrecv"))
            // SIPp forgets the INVITE that it has answered after a pause, and would end the call at its repetition
            // (RFC 6026 §7.1: absorbed; the 200 is repeated until its ACK).
            .label(1)
            .element("<recv request=\"INVITE\" optional=\"true\" next=\"1\"/>")
            .request("ACK")
            .serve("BYE")
            .linger(TIMER_J_MS);
        self.sipp(&script, CALLEES, &[])
    }

    /// Callers, under a name of their own.
    pub fn call(&self, name: &str) -> Result<Calling, String> {
        let script = Script::caller(name, "[field0]@rack.test")
            .begin_trusted("INVITE", "[field1]", &sdp("sendrecv"))
            .provisional("180")
            .dialog_by("200")
            .within("ACK", NO_BODY)
            .pause(HOLD_MS)
            .done_within("BYE", NO_BODY);
        let (rate, statistics) = (RATE.to_string(), self.work.join(format!("{name}-statistics.csv")));
        let kept = statistics.to_string_lossy().into_owned();
        let pace = ["-inf", &self.pairs, "-r", &rate, "-l", "10000", "-recv_timeout", PATIENCE_MS];
        let options = [&pace[..], &["-trace_stat", "-stf", &kept, "-fd", "1", &self.vip]].concat();
        let began = Instant::now();
        Ok(Calling { sipp: self.sipp(&script, CALLERS, &options)?, began, statistics })
    }

    fn sipp(&self, script: &Script, port: &str, options: &[&str]) -> Result<Running, String> {
        let (name, scenario) = (script.name(), script.write(self.work)?);
        let mut command = self.host.command("sipp");
        command.current_dir(self.work).arg("-sf").arg(scenario).args(["-i", &self.host.address, "-p", port]);
        // What another node sends again may differ in what nodes put in: by default SIPp takes it for something new.
        command.args(["-nostdin", "-rtcheck", "loose", "-trace_err", "-error_file", &format!("{name}.err")]);
        command.args(options);
        Running::start(&format!("sipp {name}"), &mut command)
    }
}

impl Calling {
    /// No more calls from now on; waits for the end of those that are under way.
    pub fn finish(mut self) -> Result<Outcome, String> {
        let offered = self.began.elapsed().as_secs() * RATE;
        self.sipp.signal(Signal::USR1);
        self.sipp.wait(Duration::from_secs(120))?;
        let path = self.statistics.display();
        let figures = figures(&self.statistics)?;
        let figure = |name: &str| figures.get(name).copied().ok_or(format!("{path} has no number for {name}"));
        let failed = figure("FailedCall(C)")?;
        let calls = figure("SuccessfulCall(C)")? + failed;
        if calls < offered / 2 {
            return Err(format!("SIPp made {calls} calls instead of {offered}:\n{}", self.sipp.tail(30)));
        }
        let mut why = String::new();
        for (name, count) in figures.iter().filter(|(name, count)| *name != "FailedCall(C)" && **count > 0) {
            if let Some(reason) = name.strip_prefix("Failed").and_then(|name| name.strip_suffix("(C)")) {
                let _ = write!(why, " ({count} {reason})");
            }
        }
        Ok(Outcome { calls, failed, why })
    }
}
