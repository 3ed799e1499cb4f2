//! The location server as a program of its own. Takes the flags of `siprack serve location-server`, which is what the agent runs.

use clap::Parser;
use common::io::start::{Flags, Options, exit};
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// The location server of a siprack rack: provisioning log, database, API, and the push to every node
#[derive(Parser)]
#[command(name = "location-server", version)]
struct Arguments {
    #[command(flatten)]
    flags: Flags,
}

fn main() -> ExitCode {
    exit("location-server", Options::read(&Arguments::parse().flags).and_then(location_server::io::run))
}
