//! `side-by-side`: the rack beside Kamailio and beside a plain relay, in one run; memory of held calls; long runs.

#![allow(clippy::disallowed_methods)]

use benches::compare::{self, Amount};
use benches::subject::{Places, Subject, Work};
use benches::{endurance, held, relay, takeover};
use clap::{Parser, Subcommand};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

#[derive(Parser)]
#[command(about = "CPU time a call and a message: the rack beside Kamailio and beside a plain relay")]
struct Arguments {
    #[command(subcommand)]
    what: Option<What>,
    /// State directories and logs
    #[arg(long, default_value = "/tmp/siprack-bench", global = true)]
    scratch: PathBuf,
    /// Calls open at a time where the window is kept full
    #[arg(long, default_value_t = 128, global = true)]
    window: u64,
}

#[derive(Subcommand)]
enum What {
    /// The table: each subject in turn, round after round, saturated and at an equal rate (the default)
    Compare {
        /// Calls of one measurement
        #[arg(long, default_value_t = 20_000)]
        calls: u64,
        /// Calls a second of the part at an equal rate
        #[arg(long, default_value_t = 1000.0)]
        rate: f64,
        #[arg(long, default_value_t = 3)]
        rounds: usize,
        /// Leave Kamailio out
        #[arg(long)]
        alone: bool,
    },
    /// Resident memory a held call
    Held {
        /// Calls held, one step after the other
        #[arg(long, value_delimiter = ',', default_value = "10000,50000")]
        steps: Vec<u64>,
        #[arg(long, default_value_t = 1000.0)]
        rate: f64,
        /// Kamailio too
        #[arg(long)]
        peers: bool,
    },
    /// What shadows cost: CPU time, set-up delay and memory a call with none, one and two of them
    Shadows {
        #[arg(long, default_value_t = 20_000)]
        calls: u64,
        #[arg(long, default_value_t = 1000.0)]
        rate: f64,
        #[arg(long, default_value_t = 3)]
        rounds: usize,
        /// Calls held, one step after the other
        #[arg(long, value_delimiter = ',', default_value = "10000,30000")]
        steps: Vec<u64>,
    },
    /// How long until all calls of a killed node go on
    Takeover {
        /// Calls held by a rack of three nodes, each in a run of its own
        #[arg(long, value_delimiter = ',', default_value = "300,3000,30000")]
        held: Vec<u64>,
        #[arg(long, default_value_t = 1000.0)]
        rate: f64,
    },
    /// Four fifths of what the rack bears, for ten minutes: exit 0 only without a failed call and with flat memory
    Endurance {
        #[arg(long, default_value_t = 600.0)]
        seconds: f64,
        #[arg(long, default_value_t = 0.8)]
        share: f64,
        /// Calls a second, instead of a share of what it bears
        #[arg(long)]
        rate: Option<f64>,
        #[arg(long, default_value_t = 3)]
        nodes: u16,
    },
    /// The plain relay itself
    #[command(hide = true)]
    Relay { listen: SocketAddr, to: SocketAddr },
}

fn main() -> ExitCode {
    match run(Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("side-by-side: {why}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Arguments) -> Result<(), String> {
    let Arguments { what, scratch, window } = arguments;
    let compare = What::Compare { calls: 20_000, rate: 1000.0, rounds: 3, alone: false };
    match what.unwrap_or(compare) {
        What::Relay { listen, to } => relay::run(listen, to).map_err(|e| e.to_string()),
        What::Compare { calls, rate, rounds, alone } => {
            let mut subjects = vec![Subject::Relay, Subject::Rack { nodes: 1 }, Subject::Rack { nodes: 3 }];
            if !alone {
                let kamailio = [Work::Transactions, Work::Dialogs, Work::Service].map(Subject::Kamailio);
                subjects.splice(1..1, kamailio);
            }
            let amount = Amount { calls, window, rate, rounds };
            let results = compare::run(&subjects, &amount, &places(scratch)?)?;
            compare::table(&subjects, &amount, &results).iter().for_each(|line| println!("{line}"));
            Ok(())
        }
        What::Held { steps, rate, peers } => {
            let mut subjects = vec![Subject::Rack { nodes: 1 }];
            if peers {
                subjects.push(Subject::Kamailio(Work::Dialogs));
            }
            let places = places(scratch)?;
            for subject in subjects {
                held::run(subject, &steps, rate, &places)?.iter().for_each(|line| println!("{line}"));
            }
            Ok(())
        }
        What::Shadows { calls, rate, rounds, steps } => {
            let amount = Amount { calls, window, rate, rounds };
            takeover::cost(&amount, &steps, &places(scratch)?)?.iter().for_each(|line| println!("{line}"));
            Ok(())
        }
        What::Takeover { held, rate } => {
            takeover::death(&held, rate, &places(scratch)?)?.iter().for_each(|line| println!("{line}"));
            Ok(())
        }
        What::Endurance { seconds, share, rate, nodes } => {
            let length = Duration::from_secs_f64(seconds);
            endurance::run(Subject::Rack { nodes }, share, rate, length, window, &places(scratch)?)
        }
    }
}

/// The programs lie beside this one; the repository is where this crate was built.
fn places(scratch: PathBuf) -> Result<Places, String> {
    let own = std::env::current_exe().map_err(|e| e.to_string())?;
    let programs = own.parent().map(PathBuf::from).ok_or("this program has no directory")?;
    if !programs.join("siprack").exists() {
        return Err(format!("{} is missing: cargo build --release -p siprack", programs.join("siprack").display()));
    }
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..");
    std::fs::create_dir_all(&scratch).map_err(|e| format!("{}: {e}", scratch.display()))?;
    Ok(Places { programs, root, scratch })
}
