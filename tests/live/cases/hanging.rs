//! The load manager's process is stopped, for good, while calls come in: its agent misses the beacons, kills it and starts
//! another one, and the VIP answers within a second; no call is lost. A machine that stands still costs no load manager.

use crate::Verdict;
use crate::load::made_by_siprack;
use crate::rack_process::{Rack, work_folder};
use rustix::process::{Pid, Signal, kill_process};
use std::net::UdpSocket;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Everybody may register and call: a challenge would only make a call longer.
const OPEN: [&str; 4] = ["--set", "domains.0.auth=none", "--set", "domains.0.provisioning=open"];
const VIP: &str = "127.0.0.1:5060";
const ALARM: &str = "ALARM: lm-server-1 has sent no beacon for 300 ms; it is killed and started again";

/// Within which the VIP must answer again.
const WITHIN: Duration = Duration::from_secs(1);
/// What a busy machine may add.
const SLACK: Duration = Duration::from_millis(100);
/// Nobody can have missed a beacon yet: who answers so soon was not stopped.
const AT_LEAST: Duration = Duration::from_millis(200);
/// The threads of a process do not stop all at once.
const STOPS_WITHIN: Duration = Duration::from_millis(20);
const ASKED_EVERY: Duration = Duration::from_millis(10);
const PATIENCE: Duration = Duration::from_secs(10);
const STANDS_STILL: Duration = Duration::from_secs(1);

pub fn run() -> Verdict {
    let folder = work_folder("hanging")?;
    let mut rack = Rack::start(None, &folder.join("data"), &OPEN)?;
    let first = rack.pid("lm-server", 0)?;
    stand_still(&rack, first)?;

    let calling = std::thread::spawn(|| made_by_siprack(&["calls", "--rate", "100", "--duration", "6"]));
    sleep(Duration::from_secs(2));
    let silent = stop(first).and_then(silence);
    let seen = calling.join().map_err(|_| "the caller panicked".to_string())?;
    let silent = silent?;
    rack.wait_healed("lm-server", 0, first)?;
    rack.wait_for(ALARM, Duration::from_secs(1))?;
    if silent > WITHIN + SLACK {
        return Err(format!(
            "the VIP was silent for {silent:?}; allowed is {WITHIN:?}, and {SLACK:?} on a busy machine"
        ));
    }
    let seen = seen.map_err(|why| format!("the VIP answered after {silent:?}, but {why}"))?;
    let restarts = rack.status()?["services"].as_array().and_then(|all| {
        let load_manager = all.iter().find(|service| service["kind"] == "lm-server")?;
        load_manager["restarts"].as_u64()
    });
    if restarts != Some(1) {
        return Err(format!("it was stopped once, and status tells of {restarts:?} restarts"));
    }
    rack.stop()?;
    let (calls, again) = (&seen["started"], &seen["repeats"]);
    let ms = silent.as_millis();
    Ok(format!(
        "stopped, killed and replaced: the VIP answered {ms} ms after; {calls} calls, 0 failed, {again} sent again"
    ))
}

/// Stops the process; when it was told to.
fn stop(process: i32) -> Result<Instant, String> {
    let begun = Instant::now();
    signal(process, Signal::STOP)?;
    sleep(STOPS_WITHIN);
    Ok(begun)
}

/// How long after `begun` the VIP answered one of the questions that are put to it from now on.
fn silence(begun: Instant) -> Result<Duration, String> {
    let failed = |e: std::io::Error| format!("the questions to the VIP: {e}");
    let socket = UdpSocket::bind("127.0.0.1:0").map_err(failed)?;
    socket.set_read_timeout(Some(ASKED_EVERY)).map_err(failed)?;
    let local = socket.local_addr().map_err(failed)?;
    let mut answer = [0u8; 8192];
    let mut asked = 0;
    while begun.elapsed() < PATIENCE {
        asked += 1;
        let question = format!(
            "OPTIONS sip:rack.test SIP/2.0\r\nVia: SIP/2.0/UDP {local};rport;branch=z9hG4bKhanging{asked}\r\n\
             Max-Forwards: 70\r\nFrom: <sip:1001@rack.test>;tag=h{asked}\r\nTo: <sip:rack.test>\r\n\
             Call-ID: hanging{asked}@{local}\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"
        );
        socket.send_to(question.as_bytes(), VIP).map_err(failed)?;
        // Without an answer in time the next question is due.
        let Ok(length) = socket.recv(&mut answer) else { continue };
        let after = begun.elapsed();
        if after < AT_LEAST {
            return Err(format!("the VIP answered after {after:?}: its process was not stopped"));
        }
        if answer[..length].starts_with(b"SIP/2.0 200 ") {
            return Ok(after);
        }
    }
    Err(format!("the VIP was silent for {PATIENCE:?}, and {asked} questions were put to it"))
}

/// Agent and load manager stand still together, as a machine does that its hypervisor has stopped. The agent goes on first
/// and finds no beacon, but it knows that it was asleep.
fn stand_still(rack: &Rack, load_manager: i32) -> Result<(), String> {
    rack.signal_agent(Signal::STOP);
    signal(load_manager, Signal::STOP)?;
    sleep(STANDS_STILL);
    rack.signal_agent(Signal::CONT);
    sleep(Duration::from_millis(50));
    signal(load_manager, Signal::CONT)?;
    // Longer than the agent would wait for a beacon.
    sleep(Duration::from_millis(500));
    rack.wait_ready(PATIENCE)?;
    match rack.pid("lm-server", 0)? {
        same if same == load_manager => Ok(()),
        _ => Err(format!("a machine that stood still for {STANDS_STILL:?} has lost its load manager")),
    }
}

fn signal(process: i32, signal: Signal) -> Result<(), String> {
    let pid = Pid::from_raw(process).ok_or("no process has the number 0")?;
    kill_process(pid, signal).map_err(|e| format!("{signal:?} to process {process}: {e}"))
}
