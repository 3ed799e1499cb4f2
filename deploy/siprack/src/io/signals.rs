//! Signals to the agent, as events: SIGINT and SIGTERM end it, SIGCHLD says that a child has ended.

use crate::failure::{Failure, exit};
use std::sync::mpsc::SyncSender;
use tokio::signal::unix::{Signal, SignalKind, signal};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    Stop,
    Child,
}

/// The three streams, registered with the runtime that calls this.
pub struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
    child: Signal,
}

impl Signals {
    /// From now on none of these signals ends the process.
    pub fn register() -> Result<Signals, Failure> {
        let on = |kind| signal(kind).map_err(|e| Failure::new(exit::FAILED, format!("cannot receive signals: {e}")));
        Ok(Signals {
            interrupt: on(SignalKind::interrupt())?,
            terminate: on(SignalKind::terminate())?,
            hangup: on(SignalKind::hangup())?,
            child: on(SignalKind::child())?,
        })
    }

    /// Passes them on until the agent is gone.
    pub async fn pass_to(mut self, events: SyncSender<Event>) {
        loop {
            let event = tokio::select! {
                _ = self.interrupt.recv() => Event::Stop,
                _ = self.terminate.recv() => Event::Stop,
                _ = self.hangup.recv() => Event::Stop,
                _ = self.child.recv() => Event::Child,
            };
            // A full queue holds events already; the agent looks at all children whenever it wakes up.
            if matches!(events.try_send(event), Err(std::sync::mpsc::TrySendError::Disconnected(_))) {
                return;
            }
        }
    }
}
