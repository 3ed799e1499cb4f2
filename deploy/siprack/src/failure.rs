//! Why a command ends badly: one message that says what, where and what to do, and the exit code.

use common::config::ConfigError;

/// Exit codes, in the manner of sysexits(3) where it has one.
pub mod exit {
    /// Not ready, or it failed.
    pub const FAILED: u8 = 1;
    /// No rack answers.
    pub const NO_RACK: u8 = 2;
    /// A service of the rack refused or did not answer.
    pub const REFUSED: u8 = 69;
    pub const CANNOT_CREATE: u8 = 73;
    /// Another agent uses the state directory.
    pub const IN_USE: u8 = 75;
    /// The rack file, the key, or the identity of the state directory.
    pub const CONFIG: u8 = 78;
    /// EADDRINUSE.
    pub const PORT_TAKEN: u8 = 98;
    /// EADDRNOTAVAIL.
    pub const NOT_OUR_ADDRESS: u8 = 99;
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    pub message: String,
    pub code: u8,
}

impl Failure {
    pub fn new(code: u8, message: impl Into<String>) -> Failure {
        Failure { message: message.into(), code }
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Failure {
        Failure::new(exit::CONFIG, error.to_string())
    }
}
