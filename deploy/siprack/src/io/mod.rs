//! Everything of `siprack` that touches the machine. `run` is what `main` calls.
//!
//! `up` is the agent; it uses `rack_file`, `state_directory`, `open_sockets`, `in_hand`, `children` (with `beacons`), `watch`,
//! `status_port`, `signals`, `farewell`, `systemd` and `terminal`. `serve` is what the agent's children run. `client`
//! reaches a running rack, for `operator`, `drain`, `drill`, `keys`, `import` and `try_call`. `cdr` reads what nodes have
//! written. `load` is the load generator's sockets, which `benches/` uses too.
#![allow(clippy::disallowed_methods, reason = "this is the shell: clocks, threads and the environment are read here")]

mod beacons;
mod cdr;
mod children;
mod client;
mod drain;
mod drill;
mod farewell;
mod import;
mod in_hand;
mod keys;
pub mod load;
mod open_sockets;
mod operator;
mod rack_file;
mod serve;
mod signals;
mod state_directory;
mod status_port;
mod systemd;
mod terminal;
mod trace;
pub mod try_call;
mod up;
mod watch;

use crate::args::{Arguments, Command, Drill};
use common::config::Rack;
use std::io::Write;
use std::process::ExitCode;

/// Carries out one command; messages of failures go to standard error.
pub fn run(arguments: Arguments) -> ExitCode {
    let done = match arguments.command {
        Command::Up(args) => up::run(&args),
        Command::Try(args) => operator::try_call(args),
        Command::Status(args) => operator::status(&args),
        Command::Check(args) => operator::check(&args),
        Command::Explain(args) => operator::explain(&args),
        Command::Trace(args) => trace::run(&args),
        Command::Drain(args) => drain::drain(&args),
        Command::Undrain(args) => drain::undrain(&args),
        Command::Keys(args) => keys::run(&args),
        Command::Subscriber(command) => operator::subscriber(command),
        Command::Registrations(args) => operator::registrations(&args),
        Command::Cdr(args) => cdr::run(&args),
        Command::Import(args) => import::run(&args),
        Command::Drill(Drill::Kill(args)) => drill::kill(&args),
        Command::Load(args) => load::run(&args),
        Command::Serve(args) => serve::run(&args),
        Command::Schema => terminal::print(&schema()),
    };
    match done {
        Ok(code) => ExitCode::from(code),
        Err(failure) => {
            let mut stderr = std::io::stderr();
            for line in failure.message.lines() {
                // Nobody is left to tell if standard error is closed.
                let _ = writeln!(stderr, "siprack: {line}");
            }
            ExitCode::from(failure.code)
        }
    }
}

/// The JSON Schema of the rack file, as `deploy/config/siprack.schema.json` has it.
pub fn schema() -> String {
    let schema = schemars::schema_for!(Rack);
    serde_json::to_string_pretty(&schema).unwrap_or_default()
}
