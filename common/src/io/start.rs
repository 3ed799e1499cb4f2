//! What every server is started with, how a start fails, and when a process ends.

use crate::config::Rack;
use crate::ids::BootId;
use crate::keys::{Keys, RackKey};
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use tokio::signal::unix::{SignalKind, signal};

/// What the agent tells a server.
#[derive(Clone, Debug)]
pub struct Options {
    /// Which of its kind in the rack file.
    pub id: u16,
    /// This incarnation, drawn by the agent.
    pub boot: BootId,
    /// Expanded.
    pub rack: Arc<Rack>,
    pub keys: Arc<Keys>,
    /// The state directory.
    pub data: PathBuf,
}

/// The flags of every server, whether the agent starts it or a person.
#[derive(Clone, Debug, clap::Args)]
pub struct Flags {
    /// Which of its kind in the rack file
    #[arg(long)]
    pub id: u16,
    /// The expanded rack (JSON), as `siprack up` writes it
    #[arg(long, value_name = "FILE")]
    pub rack_file: PathBuf,
    /// State directory of the rack
    #[arg(long, value_name = "DIR", default_value = "./siprack-data")]
    pub data: PathBuf,
    /// Number of this incarnation, larger than every one before
    #[arg(long)]
    pub boot: u64,
}

impl Options {
    /// Reads the rack file and the rack key: `key` or `key_file` of the file, else `<data>/rack.key`.
    pub fn read(flags: &Flags) -> Result<Options, StartError> {
        let file = flags.rack_file.display();
        let rack = Rack::from_json(&text(&flags.rack_file, "the expanded rack")?).map_err(|e| {
            StartError::Config(format!("{file} is no expanded rack: {e}; it is written by `siprack up`"))
        })?;
        let (key, place) = match &rack.key {
            Some(key) => (key.clone(), format!("`key` of {file}")),
            None => {
                let path = rack.key_file.clone().unwrap_or_else(|| flags.data.join("rack.key"));
                (text(&path, "the rack key")?, path.display().to_string())
            }
        };
        let key = RackKey::parse(&key)
            .map_err(|e| StartError::Config(format!("{place}: {e}; `openssl rand -hex 32` makes one")))?;
        Ok(Options {
            id: flags.id,
            boot: BootId(flags.boot),
            rack: Arc::new(rack),
            keys: Arc::new(Keys::derive(&key)),
            data: flags.data.clone(),
        })
    }
}

fn text(path: &Path, what: &str) -> Result<String, StartError> {
    std::fs::read_to_string(path)
        .map_err(|e| StartError::Config(format!("cannot read {what}, {}: {e}", path.display())))
}

/// The end of a server's own program: its complaint, and the exit code that goes with it.
pub fn exit(program: &str, ended: Result<(), StartError>) -> ExitCode {
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{program}: {error}");
            ExitCode::from(error.exit_code())
        }
    }
}

/// Why a server did not start, or ended by itself; the message says what, where and what to do.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("{0}")]
    Config(String),
    #[error("{what}: {address} is in use already. Stop what has it (`ss -lnp | grep :{port}`), or give {what} another address in the rack file", port = address.port())]
    InUse { what: String, address: SocketAddr },
    #[error("{what}: this machine has no address {address}. Add it to an interface, or correct it in the rack file")]
    NotOurAddress { what: String, address: SocketAddr },
    #[error(
        "{what}: this user may not listen at {address}. Ports under 1024 need CAP_NET_BIND_SERVICE (or root); give it that, or {what} another port in the rack file"
    )]
    NotAllowed { what: String, address: SocketAddr },
    #[error("{path}: {source}. The state directory must be writable by this user", path = path.display())]
    CannotCreate { path: PathBuf, source: io::Error },
    #[error("{what}: {source}")]
    Io { what: String, source: io::Error },
}

impl StartError {
    /// Why a socket could not be had.
    pub fn socket(what: impl Into<String>, address: SocketAddr, source: io::Error) -> StartError {
        let what = what.into();
        match source.kind() {
            io::ErrorKind::AddrInUse => StartError::InUse { what, address },
            io::ErrorKind::AddrNotAvailable => StartError::NotOurAddress { what, address },
            io::ErrorKind::PermissionDenied => StartError::NotAllowed { what, address },
            _ => StartError::Io { what: format!("{what} at {address}"), source },
        }
    }

    pub fn io(what: impl Into<String>, source: io::Error) -> StartError {
        StartError::Io { what: what.into(), source }
    }

    /// In the manner of sysexits(3) where it has one.
    pub fn exit_code(&self) -> u8 {
        match self {
            StartError::Config(_) => 78,
            StartError::InUse { .. } => 98,
            StartError::NotOurAddress { .. } => 99,
            StartError::NotAllowed { .. } => 77,
            StartError::CannotCreate { .. } => 73,
            StartError::Io { .. } => 71,
        }
    }
}

/// Comes back when the process is told to end (SIGTERM, or Ctrl-C).
pub async fn told_to_end() -> io::Result<()> {
    let (mut term, mut int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::select! {
        _ = term.recv() => {}
        _ = int.recv() => {}
    }
    Ok(())
}

/// A runtime for the control plane: one thread, the caller's.
pub fn control_runtime() -> Result<tokio::runtime::Runtime, StartError> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| StartError::io("starting the control plane's runtime", e))
}
