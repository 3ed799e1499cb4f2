//! `side-by-side`: CPU time a message of the plain relay and of a running rack, in one run.
//!
//! Start a rack first: `cargo run --release -- up --config deploy/config/bench.yaml --data /tmp/bench`, then
//! `cargo run --release -p siprack-benches -- rack --data /tmp/bench`.

#![allow(clippy::disallowed_methods)]

use benches::{cpu, generator::Generator, relay};
use clap::{Parser, Subcommand};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::time::Duration;

#[derive(Parser)]
#[command(about = "CPU time a message, beside a plain relay")]
struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Measure the relay and the rack that runs on this state directory.
    Rack {
        #[arg(long, default_value = "siprack-data")]
        data: PathBuf,
        #[arg(long, default_value = "127.0.0.1:5060")]
        vip: SocketAddr,
        #[arg(long, default_value = "rack.test")]
        domain: String,
        /// Messages, and a tenth as many calls.
        #[arg(long, default_value_t = 200_000)]
        count: u64,
        #[arg(long, default_value_t = 128)]
        window: u64,
    },
    /// The plain relay itself.
    #[command(hide = true)]
    Relay { listen: SocketAddr, to: SocketAddr },
}

fn main() -> ExitCode {
    let result = match Arguments::parse().what {
        What::Relay { listen, to } => relay::run(listen, to).map_err(|e| e.to_string()),
        What::Rack { data, vip, domain, count, window } => rack(&data, vip, &domain, count, window),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("side-by-side: {why}");
            ExitCode::FAILURE
        }
    }
}

fn rack(data: &std::path::Path, vip: SocketAddr, domain: &str, count: u64, window: u64) -> Result<(), String> {
    let services = services(data)?;
    let pids = |kind: &str| -> Vec<u32> { services.iter().filter(|(k, _)| k == kind).map(|(_, pid)| *pid).collect() };
    let (lm, nodes) = (pids("lm-server"), pids("cc-node"));
    if lm.is_empty() || nodes.is_empty() {
        return Err(format!(
            "no rack answers on {}: start one with `siprack up --config deploy/config/bench.yaml`",
            data.display()
        ));
    }
    println!("{:<34} {:>10} {:>8} {:>14} {:>14}", "work", "count", "failed", "lm-server", "cc-nodes");
    measure_relay(count, window)?;
    let mut generator = Generator::new(vip).map_err(|e| e.to_string())?;
    if !generator.register(domain).map_err(|e| e.to_string())? {
        return Err("REGISTER was not answered with 200: does the rack run deploy/config/bench.yaml?".to_string());
    }
    let before = (cpu_of(&lm)?, cpu_of(&nodes)?);
    let tally = generator.options(domain, count, window).map_err(|e| e.to_string())?;
    let after = (cpu_of(&lm)?, cpu_of(&nodes)?);
    let messages = tally.datagrams_sent + tally.datagrams_received;
    row(
        "OPTIONS, a message (in or out)",
        messages,
        tally.failed,
        micros(after.0 - before.0, messages),
        micros(after.1 - before.1, messages),
    );
    let tally = generator.calls(domain, count / 10, window).map_err(|e| e.to_string())?;
    let last = (cpu_of(&lm)?, cpu_of(&nodes)?);
    let messages = tally.datagrams_sent + tally.datagrams_received;
    row(
        "a whole proxied call",
        tally.finished,
        tally.failed,
        micros(last.0 - after.0, tally.finished),
        micros(last.1 - after.1, tally.finished),
    );
    row(
        "  of which a message",
        messages,
        tally.failed,
        micros(last.0 - after.0, messages),
        micros(last.1 - after.1, messages),
    );
    Ok(())
}

fn measure_relay(count: u64, window: u64) -> Result<(), String> {
    let listen: SocketAddr = "127.0.0.1:15999".parse().map_err(|e| format!("{e}"))?;
    let mut generator = Generator::new(listen).map_err(|e| e.to_string())?;
    let own = std::env::current_exe().map_err(|e| e.to_string())?;
    let mut child = Command::new(own)
        .args(["relay", &listen.to_string(), &generator.local().to_string()])
        .spawn()
        .map_err(|e| e.to_string())?;
    std::thread::sleep(Duration::from_millis(200));
    let measured = (|| {
        let before = cpu::used(child.id())?;
        let tally = generator.echo(&[b'x'; 845], count, window)?;
        Ok::<_, std::io::Error>((tally, cpu::used(child.id())? - before))
    })();
    let _ = child.kill();
    let _ = child.wait();
    let (tally, used) = measured.map_err(|e| e.to_string())?;
    row(
        "plain relay, 845 octets, a message",
        tally.finished,
        tally.failed,
        micros(used, tally.finished),
        String::new(),
    );
    Ok(())
}

fn row(work: &str, count: u64, failed: u64, lm: String, nodes: String) {
    println!("{work:<34} {count:>10} {failed:>8} {lm:>14} {nodes:>14}");
}

fn micros(used: Duration, count: u64) -> String {
    format!("{:.2} µs", used.as_secs_f64() * 1e6 / count.max(1) as f64)
}

fn cpu_of(pids: &[u32]) -> Result<Duration, String> {
    cpu::used_by(pids).map_err(|e| format!("reading CPU time: {e}"))
}

/// (kind, pid) of every service, as `siprack status --json` tells them.
fn services(data: &std::path::Path) -> Result<Vec<(String, u32)>, String> {
    let own = std::env::current_exe().map_err(|e| e.to_string())?;
    let siprack = own.with_file_name("siprack");
    let output = Command::new(&siprack).args(["status", "--json", "--data"]).arg(data).output();
    let output = output.map_err(|e| format!("{}: {e} (build it: cargo build --release)", siprack.display()))?;
    let status: serde_json::Value =
        serde_json::from_slice(&output.stdout).map_err(|e| format!("no rack answers on {}: {e}", data.display()))?;
    let services = status["services"].as_array().into_iter().flatten();
    Ok(services.filter_map(|s| Some((s["kind"].as_str()?.to_string(), s["pid"].as_u64()? as u32))).collect())
}
