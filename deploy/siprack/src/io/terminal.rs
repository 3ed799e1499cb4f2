//! What goes to the terminal. A reader that went away (`| head`, a closed console) never ends a rack.

use crate::failure::{Failure, exit};
use std::io::{ErrorKind, Write};

/// A line of the agent.
pub fn say(text: &str) {
    print_lines(&[format!("siprack: {text}")]);
}

pub fn print_lines(lines: &[String]) {
    let mut out = std::io::stdout().lock();
    for line in lines {
        let _ = writeln!(out, "{line}");
    }
    let _ = out.flush();
}

/// The result of a command. Without a reader it is done all the same; a full disk is a failure.
pub fn print(text: &str) -> Result<u8, Failure> {
    match writeln!(std::io::stdout(), "{}", text.trim_end_matches('\n')) {
        Err(e) if e.kind() != ErrorKind::BrokenPipe => Err(Failure::new(exit::FAILED, format!("standard output: {e}"))),
        _ => Ok(0),
    }
}

/// Part of a stream, as it is; false: nobody reads it any more. A full disk is a failure.
pub fn flows(text: &str) -> Result<bool, Failure> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => Ok(true),
        Err(e) if e.kind() == ErrorKind::BrokenPipe => Ok(false),
        Err(e) => Err(Failure::new(exit::FAILED, format!("standard output: {e}"))),
    }
}
