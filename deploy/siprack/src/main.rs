//! `siprack`: reads the command line and hands over to the library.

use clap::Parser;
use siprack::args::Arguments;
use std::process::ExitCode;

fn main() -> ExitCode {
    siprack::io::run(Arguments::parse())
}
