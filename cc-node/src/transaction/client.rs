//! The client transaction of every method but INVITE: RFC 3261 §17.1.2. Kept by `table`.

use super::{Outgoing, Step, Steps, Timer};
use crate::station::Timing;
use common::time::Duration;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Trying,
    Proceeding,
    Completed,
    Terminated,
}

pub struct Client {
    state: State,
    /// Until a final response has come.
    request: Option<Outgoing>,
    /// Timer E's interval.
    interval: Duration,
    reliable: bool,
}

impl Client {
    pub fn start(request: Outgoing, reliable: bool, timing: &Timing, out: &mut Steps) -> Client {
        out.push(Step::Send(request.clone()));
        if !reliable {
            out.push(Step::Set(Timer::E, timing.t1));
        }
        out.push(Step::Set(Timer::F, timing.whole()));
        Client { state: State::Trying, request: Some(request), interval: timing.t1, reliable }
    }

    pub fn state(&self) -> State {
        self.state
    }

    /// Whether the transaction user sees this response.
    pub fn response(&mut self, status: u16, timing: &Timing, out: &mut Steps) -> bool {
        match (self.state, status) {
            (State::Trying | State::Proceeding, 100..=199) => {
                self.state = State::Proceeding;
                true
            }
            (State::Trying | State::Proceeding, _) => {
                self.state = State::Completed;
                self.request = None;
                let linger = if self.reliable { Duration::ZERO } else { timing.t4 };
                out.extend([Step::Clear(Timer::E), Step::Clear(Timer::F), Step::Set(Timer::K, linger)]);
                true
            }
            _ => false,
        }
    }

    pub fn timer(&mut self, timer: Timer, timing: &Timing, out: &mut Steps) {
        match (self.state, timer) {
            (State::Trying | State::Proceeding, Timer::E) => {
                let doubled = (self.interval * 2).min(timing.t2);
                self.interval = if self.state == State::Trying { doubled } else { timing.t2 };
                out.extend(self.request.clone().map(Step::Send));
                out.push(Step::Set(Timer::E, self.interval));
            }
            (State::Trying | State::Proceeding, Timer::F) => {
                self.state = State::Terminated;
                out.extend([Step::TimedOut, Step::Gone]);
            }
            (State::Completed, Timer::K) => {
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
    fn repeats_up_to_t2_until_timer_f() {
        let mut c = None;
        assert_eq!(
            said(|s| c = Some(Client::start(message("BYE"), false, &TIMING, s))),
            "send BYE, set E 500, set F 32000"
        );
        let mut c = c.unwrap_or_else(|| Client::start(message("BYE"), false, &TIMING, &mut Steps::new()));
        for interval in [1000, 2000, 4000, 4000] {
            assert_eq!(said(|s| c.timer(Timer::E, &TIMING, s)), format!("send BYE, set E {interval}"));
        }
        assert_eq!(said(|s| c.timer(Timer::F, &TIMING, s)), "timed out, gone");
    }

    #[test]
    fn the_final_is_told_once() {
        let mut c = Client::start(message("BYE"), false, &TIMING, &mut Steps::new());
        assert_eq!(said(|s| assert!(c.response(100, &TIMING, s))), "");
        assert_eq!(said(|s| c.timer(Timer::E, &TIMING, s)), "send BYE, set E 4000");
        assert_eq!(said(|s| assert!(c.response(200, &TIMING, s))), "clear E, clear F, set K 5000");
        assert_eq!(said(|s| assert!(!c.response(200, &TIMING, s))), "");
        assert_eq!(said(|s| c.timer(Timer::K, &TIMING, s)), "gone");
    }
}
