//! What every server is started with, how a start fails, and when a process ends.

use crate::config::Rack;
use crate::ids::BootId;
use crate::keys::Keys;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
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

/// Why a server did not start, or ended by itself; the message says what, where and what to do.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("{0}")]
    Config(String),
    #[error("{what}: {address} is in use already. Stop what has it (`ss -lnp | grep :{port}`), or give {what} another address in the rack file", port = address.port())]
    InUse { what: String, address: SocketAddr },
    #[error("{what}: this machine has no address {address}. Add it to an interface, or correct it in the rack file")]
    NotOurAddress { what: String, address: SocketAddr },
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
