//! What an lm-server tells its agent: an octet for each beacon, over a pair of sockets that is made anew for each
//! incarnation (`children`). A process that does not run tells nothing, and one that finds the queue full loses no time.

use crate::pulse::Pulse;
use common::time::{Duration, Time};
use std::io::Error;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;

/// Octets taken at a time: a child that does nothing but write must not hold the agent up.
const AT_ONCE: usize = 64;

/// The agent's end.
pub struct Beacons {
    socket: UnixDatagram,
    pulse: Pulse,
}

/// The agent's end, and the one to be passed to an lm-server that makes a beacon every `period`.
pub fn channel(period: Duration) -> Result<(Beacons, OwnedFd), Error> {
    let (socket, of_the_child) = UnixDatagram::pair()?;
    socket.set_nonblocking(true)?;
    of_the_child.set_nonblocking(true)?;
    Ok((Beacons { socket, pulse: Pulse::new(period) }, of_the_child.into()))
}

impl Beacons {
    /// After how long a silence it is given up, if that much has passed since its newest beacon.
    pub fn silent_for(&mut self, now: Time) -> Option<Duration> {
        let mut octet = [0];
        let told = (0..AT_ONCE).take_while(|_| self.socket.recv(&mut octet).is_ok_and(|length| length > 0)).count();
        if told > 0 {
            self.pulse.beat(now);
        }
        self.pulse.is_overdue(now).then(|| self.pulse.patience())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PERIOD: Duration = Duration::from_millis(50);

    /// Looks every 50 ms; when it is given up.
    fn given_up(beacons: &mut Beacons, from_ms: u64, to_ms: u64) -> Option<u64> {
        (from_ms..=to_ms).step_by(50).find(|ms| beacons.silent_for(Time(ms * 1000)).is_some())
    }

    #[test]
    fn octets_are_beats_and_their_end_is_noticed() {
        let (mut beacons, of_the_child) = channel(PERIOD).expect("a pair");
        assert_eq!(given_up(&mut beacons, 0, 1000), None, "it has told nothing yet");
        let child = UnixDatagram::from(of_the_child);
        for ms in (1050..=2000).step_by(50) {
            child.send(&[0]).expect("room for one");
            assert_eq!(given_up(&mut beacons, ms, ms), None);
        }
        assert_eq!(given_up(&mut beacons, 2050, 3000), Some(2300));
    }

    #[test]
    fn a_child_never_waits_for_a_sleeping_agent() {
        let (mut beacons, of_the_child) = channel(PERIOD).expect("a pair");
        let child = UnixDatagram::from(of_the_child);
        while child.send(&[0]).is_ok() {}
        assert_eq!(given_up(&mut beacons, 5000, 5000), None, "what waits is a beat");
        child.send(&[0]).expect("room again");
    }
}
