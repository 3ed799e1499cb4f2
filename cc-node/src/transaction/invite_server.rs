//! The INVITE server transaction: RFC 3261 §17.2.1, with the Accepted state of RFC 6026 §7.1. Kept by `table`.

use super::{Outgoing, Step, Steps, Timer};
use crate::station::Timing;
use common::time::Duration;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Proceeding,
    Accepted,
    Completed,
    Confirmed,
    Terminated,
}

pub struct InviteServer {
    state: State,
    /// The newest provisional, or the final response that is not 2xx.
    last: Option<Outgoing>,
    /// Timer G's next interval.
    interval: Duration,
    reliable: bool,
}

impl InviteServer {
    pub fn new(reliable: bool) -> InviteServer {
        InviteServer { state: State::Proceeding, last: None, interval: Duration::ZERO, reliable }
    }

    pub fn state(&self) -> State {
        self.state
    }

    /// The INVITE came again. In Accepted it is absorbed: the 200 is repeated by the UAS, not by us (RFC 6026 §7.1).
    pub fn repeat(&self, out: &mut Steps) {
        if matches!(self.state, State::Proceeding | State::Completed) {
            out.extend(self.last.clone().map(Step::Send));
        }
    }

    /// An ACK with the INVITE's branch. Whether the transaction user must see it: in Accepted it belongs to a 2xx.
    pub fn ack(&mut self, timing: &Timing, out: &mut Steps) -> bool {
        if self.state == State::Completed {
            self.state = State::Confirmed;
            let linger = if self.reliable { Duration::ZERO } else { timing.t4 };
            out.extend([Step::Clear(Timer::G), Step::Clear(Timer::H), Step::Set(Timer::I, linger)]);
        }
        self.state == State::Accepted
    }

    /// A 2xx has gone upstream by another node.
    pub fn accept(&mut self, timing: &Timing, out: &mut Steps) {
        if self.state == State::Proceeding {
            self.state = State::Accepted;
            self.last = None;
            out.push(Step::Set(Timer::L, timing.whole()));
        }
    }

    pub fn respond(&mut self, status: u16, response: Outgoing, timing: &Timing, out: &mut Steps) {
        match (self.state, status) {
            (State::Proceeding, 100..=199) => {
                self.last = Some(response.clone());
                out.push(Step::Send(response));
            }
            (State::Proceeding, 200..=299) => {
                self.state = State::Accepted;
                self.last = None;
                out.extend([Step::Send(response), Step::Set(Timer::L, timing.whole())]);
            }
            (State::Accepted, 200..=299) => out.push(Step::Send(response)),
            (State::Proceeding, _) => {
                self.state = State::Completed;
                self.last = Some(response.clone());
                self.interval = timing.t1;
                out.push(Step::Send(response));
                if !self.reliable {
                    out.push(Step::Set(Timer::G, self.interval));
                }
                out.push(Step::Set(Timer::H, timing.whole()));
            }
            _ => {}
        }
    }

    pub fn timer(&mut self, timer: Timer, timing: &Timing, out: &mut Steps) {
        match (self.state, timer) {
            (State::Completed, Timer::G) => {
                self.interval = (self.interval * 2).min(timing.t2);
                out.extend(self.last.clone().map(Step::Send));
                out.push(Step::Set(Timer::G, self.interval));
            }
            (State::Completed, Timer::H) => {
                self.state = State::Terminated;
                out.extend([Step::TimedOut, Step::Gone]);
            }
            (State::Confirmed, Timer::I) | (State::Accepted, Timer::L) => {
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

    #[test]
    fn a_repeated_invite_gets_the_newest_provisional() {
        let mut t = InviteServer::new(false);
        assert_eq!(said(|s| t.repeat(s)), "");
        assert_eq!(said(|s| t.respond(100, message("100"), &TIMING, s)), "send 100");
        assert_eq!(said(|s| t.respond(180, message("180"), &TIMING, s)), "send 180");
        assert_eq!(said(|s| t.repeat(s)), "send 180");
    }

    #[test]
    fn a_refusal_is_repeated_until_its_ack() {
        let mut t = InviteServer::new(false);
        assert_eq!(said(|s| t.respond(486, message("486"), &TIMING, s)), "send 486, set G 500, set H 32000");
        for interval in [1000, 2000, 4000, 4000] {
            assert_eq!(said(|s| t.timer(Timer::G, &TIMING, s)), format!("send 486, set G {interval}"));
        }
        assert_eq!(said(|s| t.repeat(s)), "send 486");
        assert_eq!(said(|s| assert!(!t.ack(&TIMING, s))), "clear G, clear H, set I 5000");
        assert_eq!(said(|s| assert!(!t.ack(&TIMING, s))), "");
        assert_eq!(said(|s| t.respond(200, message("200"), &TIMING, s)), "");
        assert_eq!(said(|s| t.timer(Timer::I, &TIMING, s)), "gone");
    }

    #[test]
    fn without_an_ack_it_ends_with_timer_h() {
        let mut t = InviteServer::new(false);
        t.respond(486, message("486"), &TIMING, &mut Steps::new());
        assert_eq!(said(|s| t.timer(Timer::H, &TIMING, s)), "timed out, gone");
    }

    #[test]
    fn accepted_passes_every_200_and_absorbs_the_invite() {
        let mut t = InviteServer::new(false);
        assert_eq!(said(|s| t.respond(200, message("200"), &TIMING, s)), "send 200, set L 32000");
        assert_eq!(said(|s| t.respond(200, message("200 again"), &TIMING, s)), "send 200 again");
        assert_eq!(said(|s| t.respond(486, message("486"), &TIMING, s)), "");
        assert_eq!(said(|s| t.repeat(s)), "");
        assert!(t.ack(&TIMING, &mut Steps::new()), "the ACK is for the UAS");
        assert_eq!(said(|s| t.timer(Timer::L, &TIMING, s)), "gone");
    }
}
