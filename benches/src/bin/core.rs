//! `core`: the pure parts by themselves: the small pieces, a call through one node's engine, memory a held call.
//! `core calls N` runs N calls and nothing else: for a profiler.

use benches::core::counting_allocator::Counting;
use benches::core::{micro, stage::Stage};
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let result = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => whole(),
        ["calls", count] => count.parse().map_err(|e| format!("{count}: {e}")).and_then(|count| calls(count).map(drop)),
        _ => Err("usage: core [calls N]".to_string()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("core: {why}");
            ExitCode::FAILURE
        }
    }
}

fn whole() -> Result<(), String> {
    println!("{:<44} {:>10} {:>12}", "piece", "ns", "allocations");
    for piece in micro::pieces() {
        println!("{:<44} {:>10.0} {:>12.1}", piece.name, piece.nanoseconds, piece.allocations);
    }
    println!();
    let lingering = calls(20_000)?;
    println!();
    println!("20000 calls that are over and linger: {lingering:.0} octets each in the node");
    held()
}

/// What each of the calls leaves in the node while its transactions linger.
fn calls(count: u64) -> Result<f64, String> {
    let mut stage = Stage::new()?;
    let finished = stage.calls(count);
    let inside = stage.inside;
    if finished != count {
        return Err(format!("{finished} of {count} calls ended well"));
    }
    let messages = inside.messages_in + inside.messages_out;
    println!(
        "a call through one node's engine: {:.1} messages, {:.2} µs, {:.1} allocations; a message {:.2} µs, {:.1}",
        messages as f64 / count as f64,
        inside.spent.as_secs_f64() * 1e6 / count as f64,
        inside.allocations as f64 / count as f64,
        inside.spent.as_secs_f64() * 1e6 / messages as f64,
        inside.allocations as f64 / messages as f64,
    );
    Ok(stage.node_octets() as f64 / count as f64)
}

/// By the allocator's own count: what 10,000 and 50,000 established calls keep in the node.
fn held() -> Result<(), String> {
    let mut stage = Stage::new()?;
    let mut before = (0, stage.node_octets());
    for count in [10_000, 40_000] {
        let established = stage.hold(count);
        let octets = stage.node_octets();
        let each = (octets - before.1) as f64 / (established - before.0) as f64;
        println!("{established} calls held: {each:.0} octets each in the node");
        before = (established, octets);
    }
    Ok(())
}
