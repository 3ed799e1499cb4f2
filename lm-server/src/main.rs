//! The load manager as a program of its own. Takes the flags of `siprack serve lm-server`, which is what the agent runs.

use clap::Parser;
use common::io::start::{Flags, Options, exit};
use std::process::ExitCode;

/// The load manager of a siprack rack: owns the VIP, judges who is alive, forwards each datagram by its Call-ID
#[derive(Parser)]
#[command(name = "lm-server", version)]
struct Arguments {
    #[command(flatten)]
    flags: Flags,
}

fn main() -> ExitCode {
    exit("lm-server", Options::read(&Arguments::parse().flags).and_then(lm_server::io::run))
}
