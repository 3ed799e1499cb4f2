//! The call-control node as a program of its own. Takes the flags of `siprack serve cc-node`, which is what the agent runs.

use clap::Parser;
use common::io::start::{Flags, Options, exit};
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// A call-control node of a siprack rack: transactions, proxy, registrar, and who is called
#[derive(Parser)]
#[command(name = "cc-node", version)]
struct Arguments {
    #[command(flatten)]
    flags: Flags,
}

fn main() -> ExitCode {
    exit("cc-node", Options::read(&Arguments::parse().flags).and_then(cc_node::io::run))
}
