//! Ten minutes of calls at a steady rate: none may fail, and no process may grow. `SIPRACK_SOAK_RATE` (calls a second)
//! and `SIPRACK_SOAK_S` set other figures.

use crate::Verdict;
use crate::cases::subscribers::{USERS, write_users};
use crate::load::{Load, SippLoad};
use crate::namespaces::Network;
use crate::rack_process::{Rack, rack_file, work_folder};
use crate::sipp::Sipp;
use std::fmt::Write;
use std::path::Path;
use std::time::{Duration, Instant};

const SAMPLES_EVERY: Duration = Duration::from_secs(5);
/// Tables and pools fill until the first calls' last timers have run.
const WARM_UP: Duration = Duration::from_secs(120);
/// What an allocator may do over ten minutes without a leak behind it.
const ALLOWED_KIB: f64 = 2048.0;

/// The memory of one process over time.
struct Memory {
    name: String,
    pid: i64,
    /// Seconds since the start of the load, KiB.
    samples: Vec<(f64, f64)>,
}

pub fn run() -> Verdict {
    let rate = figure("SIPRACK_SOAK_RATE", 50)?;
    let lasting = Duration::from_secs(figure("SIPRACK_SOAK_S", 600)?.into());
    let folder = work_folder("soak")?;
    let mut network = Network::new()?;
    let host = network.host("rack", "10.99.0.1")?;
    let clients = network.host("sipp", "10.99.0.20")?;
    let config = rack_file(&host, &folder)?;
    let rack = Rack::start(Some(&host), &folder.join("data"), &["--config", &config.to_string_lossy()])?;
    let (import, users, pairs) = write_users(&folder)?;
    rack.siprack(&["import", &import])?;
    Sipp {
        host: &clients,
        scenario: "register",
        local_port: 5070,
        remote: Some("10.99.0.1:5060"),
        users: Some(Path::new(&users)),
        rate: Some((100, USERS)),
        work: &folder,
    }
    .finish(Duration::from_secs(60))?;
    let mut load = SippLoad::new(&clients, "10.99.0.1:5060", Path::new(&pairs), &folder);
    let memory = under_load(&rack, &mut load, rate, lasting)?;
    let outcome = load.finish()?;
    std::thread::sleep(Duration::from_millis(500));
    let cdrs = rack.cdrs().len() as u64;
    let report = report(&memory, lasting);
    let grown: Vec<&Memory> = memory.iter().filter(|m| m.growth_kib(lasting) > ALLOWED_KIB).collect();
    rack.stop()?;
    let seen = format!("{} calls at {rate}/s, {} failed, {cdrs} CDRs;{report}", outcome.calls, outcome.failed);
    if outcome.failed > 0 || cdrs != outcome.calls || !grown.is_empty() {
        return Err(seen);
    }
    Ok(seen)
}

/// A number that the environment may give.
pub fn figure(variable: &str, otherwise: u32) -> Result<u32, String> {
    match std::env::var(variable) {
        Ok(text) => text.parse().map_err(|e| format!("{variable}={text}: {e}")),
        Err(_) => Ok(otherwise),
    }
}

/// Samples the memory of every service while the load runs.
fn under_load(rack: &Rack, load: &mut dyn Load, rate: u32, lasting: Duration) -> Result<Vec<Memory>, String> {
    let status = rack.status()?;
    let mut memory: Vec<Memory> = status["services"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|s| Some(Memory { name: s["name"].as_str()?.into(), pid: s["pid"].as_i64()?, samples: Vec::new() }))
        .collect();
    load.start(rate, lasting)?;
    let start = Instant::now();
    while start.elapsed() < lasting {
        std::thread::sleep(SAMPLES_EVERY.min(lasting - start.elapsed().min(lasting)));
        for process in &mut memory {
            let kib = resident_kib(process.pid).ok_or(format!("{} is gone", process.name))?;
            process.samples.push((start.elapsed().as_secs_f64(), kib));
        }
    }
    Ok(memory)
}

/// Its own memory: pages of the program itself come in as they are first used.
fn resident_kib(pid: i64) -> Option<f64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix("RssAnon:"))?.split_whitespace().next()?.parse().ok()
}

impl Memory {
    /// KiB a second by least squares, of the samples after the warm-up.
    fn slope(&self, warm_up: f64) -> f64 {
        let kept: Vec<(f64, f64)> = self.samples.iter().copied().filter(|(t, _)| *t >= warm_up).collect();
        let n = kept.len() as f64;
        let mean = |f: fn(&(f64, f64)) -> f64| kept.iter().map(f).sum::<f64>() / n.max(1.0);
        let (t, m) = (mean(|s| s.0), mean(|s| s.1));
        let spread: f64 = kept.iter().map(|s| (s.0 - t).powi(2)).sum();
        if spread == 0.0 { 0.0 } else { kept.iter().map(|s| (s.0 - t) * (s.1 - m)).sum::<f64>() / spread }
    }

    /// How much it would grow in ten minutes.
    fn growth_kib(&self, lasting: Duration) -> f64 {
        self.slope(warm_up(lasting)) * 600.0
    }
}

/// A short run (somebody's own figures) is warm after a third of it.
fn warm_up(lasting: Duration) -> f64 {
    WARM_UP.min(lasting / 3).as_secs_f64()
}

fn report(memory: &[Memory], lasting: Duration) -> String {
    memory.iter().fold(String::new(), |mut text, process| {
        let last = process.samples.last().map_or(0.0, |s| s.1) / 1024.0;
        let _ = write!(text, " {} {last:.1} MiB ({:+.0} KiB in 10 min)", process.name, process.growth_kib(lasting));
        text
    })
}
