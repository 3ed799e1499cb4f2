//! Tells systemd (Type=notify, with watchdog) how the agent is. Without systemd it does nothing.

use sd_notify::NotifyState;

pub fn ready(text: &str) {
    tell(&[NotifyState::Ready, NotifyState::Status(text)]);
}

pub fn stopping() {
    tell(&[NotifyState::Stopping]);
}

/// To be said more often than half of the unit's WatchdogSec.
pub fn alive() {
    tell(&[NotifyState::Watchdog]);
}

fn tell(states: &[NotifyState]) {
    // Losing a notification is systemd's to notice; the rack goes on.
    let _ = sd_notify::notify(states);
}
