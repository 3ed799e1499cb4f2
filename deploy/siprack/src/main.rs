//! `siprack`: reads the command line and hands over to the library.

use clap::Parser;
use siprack::args::Arguments;
use std::process::ExitCode;

/// For the services that it becomes by `siprack serve`.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    siprack::io::run(Arguments::parse())
}
