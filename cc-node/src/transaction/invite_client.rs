//! The INVITE client transaction: RFC 3261 §17.1.1, with the Accepted state of RFC 6026 §7.2. Kept by `table`.

use super::{Outgoing, Step, Steps, Timer};
use crate::station::Timing;
use common::time::Duration;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Calling,
    Proceeding,
    Accepted,
    Completed,
    Terminated,
}

pub struct InviteClient {
    state: State,
    request: Outgoing,
    /// For the final response that came, to be repeated with each of its repeats.
    ack: Option<Outgoing>,
    /// Timer A's next interval.
    interval: Duration,
    reliable: bool,
}

impl InviteClient {
    pub fn start(request: Outgoing, reliable: bool, timing: &Timing, out: &mut Steps) -> InviteClient {
        out.push(Step::Send(request.clone()));
        if !reliable {
            out.push(Step::Set(Timer::A, timing.t1));
        }
        out.push(Step::Set(Timer::B, timing.whole()));
        InviteClient { state: State::Calling, request, ack: None, interval: timing.t1, reliable }
    }

    pub fn state(&self) -> State {
        self.state
    }

    /// Whether the transaction user sees this response. `ack` belongs to a 300-699 and is kept from the first one.
    pub fn response(&mut self, status: u16, ack: Option<Outgoing>, timing: &Timing, out: &mut Steps) -> bool {
        match (self.state, status) {
            (State::Calling, 100..=199) => {
                self.state = State::Proceeding;
                out.extend([Step::Clear(Timer::A), Step::Clear(Timer::B)]);
                true
            }
            (State::Proceeding, 100..=199) => true,
            (State::Calling | State::Proceeding, 200..=299) => {
                self.state = State::Accepted;
                out.extend([Step::Clear(Timer::A), Step::Clear(Timer::B), Step::Set(Timer::M, timing.whole())]);
                true
            }
            (State::Accepted, 200..=299) => true,
            (State::Calling | State::Proceeding, _) => {
                self.state = State::Completed;
                self.ack = ack;
                out.extend([Step::Clear(Timer::A), Step::Clear(Timer::B)]);
                out.extend(self.ack.clone().map(Step::Send));
                // At least 32 s over UDP (§17.1.1.2).
                let linger = if self.reliable { Duration::ZERO } else { timing.whole().max(Duration::from_secs(32)) };
                out.push(Step::Set(Timer::D, linger));
                true
            }
            (State::Completed, 300..) => {
                out.extend(self.ack.clone().map(Step::Send));
                false
            }
            _ => false,
        }
    }

    pub fn timer(&mut self, timer: Timer, out: &mut Steps) {
        match (self.state, timer) {
            (State::Calling, Timer::A) => {
                self.interval *= 2;
                out.extend([Step::Send(self.request.clone()), Step::Set(Timer::A, self.interval)]);
            }
            (State::Calling, Timer::B) => {
                self.state = State::Terminated;
                out.extend([Step::TimedOut, Step::Gone]);
            }
            (State::Completed, Timer::D) | (State::Accepted, Timer::M) => {
                self.state = State::Terminated;
                out.push(Step::Gone);
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;

    fn started() -> InviteClient {
        InviteClient::start(message("INVITE"), false, &TIMING, &mut Steps::new())
    }

    #[test]
    fn repeats_at_doubling_intervals_until_timer_b() {
        let mut c = None;
        assert_eq!(
            said(|s| c = Some(InviteClient::start(message("INVITE"), false, &TIMING, s))),
            "send INVITE, set A 500, set B 32000"
        );
        let mut c = c.unwrap_or_else(started);
        for interval in [1000, 2000, 4000, 8000, 16_000] {
            assert_eq!(said(|s| c.timer(Timer::A, s)), format!("send INVITE, set A {interval}"));
        }
        assert_eq!(said(|s| c.timer(Timer::B, s)), "timed out, gone");
    }

    #[test]
    fn a_refusal_is_acked_each_time_and_told_once() {
        let mut c = started();
        assert_eq!(said(|s| assert!(c.response(180, None, &TIMING, s))), "clear A, clear B");
        assert_eq!(said(|s| c.timer(Timer::A, s)), "");
        let ack = || Some(message("ACK"));
        assert_eq!(said(|s| assert!(c.response(486, ack(), &TIMING, s))), "clear A, clear B, send ACK, set D 32000");
        assert_eq!(said(|s| assert!(!c.response(486, None, &TIMING, s))), "send ACK");
        assert_eq!(said(|s| assert!(!c.response(200, None, &TIMING, s))), "");
        assert_eq!(said(|s| c.timer(Timer::D, s)), "gone");
    }

    #[test]
    fn every_200_is_told_and_none_acked() {
        let mut c = started();
        assert_eq!(said(|s| assert!(c.response(200, None, &TIMING, s))), "clear A, clear B, set M 32000");
        assert_eq!(said(|s| assert!(c.response(200, None, &TIMING, s))), "");
        assert_eq!(said(|s| assert!(!c.response(180, None, &TIMING, s))), "");
        assert_eq!(said(|s| c.timer(Timer::M, s)), "gone");
    }

    #[test]
    fn over_a_reliable_transport_nothing_is_repeated() {
        let mut c = None;
        assert_eq!(
            said(|s| c = Some(InviteClient::start(message("INVITE"), true, &TIMING, s))),
            "send INVITE, set B 32000"
        );
        assert_eq!(c.map(|c| c.state()), Some(State::Calling));
    }
}
