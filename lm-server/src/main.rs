//! The load manager as a program of its own. Takes the flags of `siprack serve lm-server`, which is what the agent runs.

use clap::Parser;
use common::config::Rack;
use common::ids::BootId;
use common::io::start::{Options, StartError};
use common::keys::{Keys, RackKey};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

/// The load manager of a siprack rack: owns the VIP, judges who is alive, forwards each datagram by its Call-ID
#[derive(Parser)]
#[command(name = "lm-server", version)]
struct Arguments {
    /// Which load manager of the rack file
    #[arg(long)]
    id: u16,
    /// The expanded rack (JSON), as `siprack up` writes it
    #[arg(long, value_name = "FILE")]
    rack_file: PathBuf,
    /// State directory of the rack
    #[arg(long, value_name = "DIR", default_value = "./siprack-data")]
    data: PathBuf,
    /// Number of this incarnation, larger than every one before
    #[arg(long)]
    boot: u64,
}

fn main() -> ExitCode {
    match options(&Arguments::parse()).and_then(lm_server::io::run) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("lm-server: {error}");
            ExitCode::from(error.exit_code())
        }
    }
}

fn options(arguments: &Arguments) -> Result<Options, StartError> {
    let text = read(&arguments.rack_file, "the expanded rack")?;
    let rack = Rack::from_json(&text).map_err(|e| StartError::Config(e.to_string()))?;
    let key = match &rack.key {
        Some(key) => RackKey::parse(key),
        None => {
            let file = rack.key_file.clone().unwrap_or_else(|| arguments.data.join("rack.key"));
            RackKey::parse(&read(&file, "the rack key")?)
        }
    };
    let key = key.map_err(|e| StartError::Config(e.to_string()))?;
    Ok(Options {
        id: arguments.id,
        boot: BootId(arguments.boot),
        rack: Arc::new(rack),
        keys: Arc::new(Keys::derive(&key)),
        data: arguments.data.clone(),
    })
}

fn read(path: &Path, what: &str) -> Result<String, StartError> {
    std::fs::read_to_string(path)
        .map_err(|e| StartError::Config(format!("cannot read {what}, {}: {e}", path.display())))
}
