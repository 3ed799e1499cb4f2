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
    /// Nobody waits for it any more, and it lingers: a final that comes late is acknowledged, and the user hears of a
    /// phone that begins to ring late, so that it can be told to stop.
    GaveUp,
    Terminated,
}

pub struct InviteClient {
    state: State,
    /// Until a final response has come: it lingers for long, and is large.
    request: Option<Outgoing>,
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
        InviteClient { state: State::Calling, request: Some(request), ack: None, interval: timing.t1, reliable }
    }

    /// Another node has sent it, and something provisional has come.
    pub fn proceeding(request: Outgoing, reliable: bool) -> InviteClient {
        InviteClient { state: State::Proceeding, request: Some(request), ack: None, interval: Duration::ZERO, reliable }
    }

    pub fn state(&self) -> State {
        self.state
    }

    /// As it was sent; `None` once it has been answered for good.
    pub fn request(&self) -> Option<&Outgoing> {
        self.request.as_ref()
    }

    /// The transaction user waits no longer (§9.1: no final response came after a CANCEL).
    pub fn give_up(&mut self, timing: &Timing, out: &mut Steps) {
        if matches!(self.state, State::Calling | State::Proceeding) {
            self.state = State::GaveUp;
            out.extend([Step::Clear(Timer::A), Step::Clear(Timer::B), Step::Set(Timer::D, self.linger(timing))]);
        }
    }

    /// At least 32 s over UDP (§17.1.1.2).
    fn linger(&self, timing: &Timing) -> Duration {
        if self.reliable { Duration::ZERO } else { timing.whole().max(Duration::from_secs(32)) }
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
                self.request = None;
                out.extend([Step::Clear(Timer::A), Step::Clear(Timer::B), Step::Set(Timer::M, timing.whole())]);
                true
            }
            (State::Accepted, 200..=299) => true,
            (State::Calling | State::Proceeding, _) => {
                self.state = State::Completed;
                self.request = None;
                self.ack = ack;
                out.extend([Step::Clear(Timer::A), Step::Clear(Timer::B)]);
                out.extend(self.ack.clone().map(Step::Send));
                out.push(Step::Set(Timer::D, self.linger(timing)));
                true
            }
            (State::GaveUp, 100..=299) => true,
            (State::GaveUp, _) => {
                self.ack = self.ack.take().or(ack);
                out.extend(self.ack.clone().map(Step::Send));
                false
            }
            (State::Completed, 300..) => {
                out.extend(self.ack.clone().map(Step::Send));
                false
            }
            _ => false,
        }
    }

    pub fn timer(&mut self, timer: Timer, timing: &Timing, out: &mut Steps) {
        match (self.state, timer) {
            (State::Calling, Timer::A) => {
                self.interval *= 2;
                out.extend(self.request.clone().map(Step::Send));
                out.push(Step::Set(Timer::A, self.interval));
            }
            (State::Calling, Timer::B) => {
                self.give_up(timing, out);
                out.push(Step::TimedOut);
            }
            (State::Completed | State::GaveUp, Timer::D) | (State::Accepted, Timer::M) => {
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
            assert_eq!(said(|s| c.timer(Timer::A, &TIMING, s)), format!("send INVITE, set A {interval}"));
        }
        assert_eq!(said(|s| c.timer(Timer::B, &TIMING, s)), "clear A, clear B, set D 32000, timed out");
        assert_eq!(said(|s| c.timer(Timer::D, &TIMING, s)), "gone");
    }

    #[test]
    fn what_comes_after_giving_up_is_told_or_acked() {
        let mut c = started();
        assert_eq!(said(|s| c.give_up(&TIMING, s)), "clear A, clear B, set D 32000");
        assert_eq!(said(|s| assert!(c.response(180, None, &TIMING, s), "somebody must tell it to stop")), "");
        assert_eq!(said(|s| assert!(c.response(200, None, &TIMING, s))), "");
        assert_eq!(said(|s| assert!(!c.response(486, Some(message("ACK")), &TIMING, s))), "send ACK");
        assert_eq!(said(|s| assert!(!c.response(486, None, &TIMING, s))), "send ACK");
        assert_eq!(said(|s| c.give_up(&TIMING, s)), "");
        assert_eq!(said(|s| c.timer(Timer::D, &TIMING, s)), "gone");
    }

    #[test]
    fn a_refusal_is_acked_each_time_and_told_once() {
        let mut c = started();
        assert_eq!(said(|s| assert!(c.response(180, None, &TIMING, s))), "clear A, clear B");
        assert_eq!(said(|s| c.timer(Timer::A, &TIMING, s)), "");
        let ack = || Some(message("ACK"));
        assert_eq!(said(|s| assert!(c.response(486, ack(), &TIMING, s))), "clear A, clear B, send ACK, set D 32000");
        assert_eq!(said(|s| assert!(!c.response(486, None, &TIMING, s))), "send ACK");
        assert_eq!(said(|s| assert!(!c.response(200, None, &TIMING, s))), "");
        assert_eq!(said(|s| c.timer(Timer::D, &TIMING, s)), "gone");
    }

    #[test]
    fn every_200_is_told_and_none_acked() {
        let mut c = started();
        assert_eq!(said(|s| assert!(c.response(200, None, &TIMING, s))), "clear A, clear B, set M 32000");
        assert_eq!(said(|s| assert!(c.response(200, None, &TIMING, s))), "");
        assert_eq!(said(|s| assert!(!c.response(180, None, &TIMING, s))), "");
        assert_eq!(said(|s| c.timer(Timer::M, &TIMING, s)), "gone");
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
