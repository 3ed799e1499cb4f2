//! The server transaction of every method but INVITE: RFC 3261 §17.2.2. Kept by `table`.

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

pub struct Server {
    state: State,
    last: Option<Outgoing>,
    reliable: bool,
}

impl Server {
    pub fn new(reliable: bool) -> Server {
        Server { state: State::Trying, last: None, reliable }
    }

    pub fn state(&self) -> State {
        self.state
    }

    /// The request came again.
    pub fn repeat(&self, out: &mut Steps) {
        out.extend(self.last.clone().map(Step::Send));
    }

    pub fn respond(&mut self, status: u16, response: Outgoing, timing: &Timing, out: &mut Steps) {
        if !matches!(self.state, State::Trying | State::Proceeding) {
            return;
        }
        self.last = Some(response.clone());
        out.push(Step::Send(response));
        if status < 200 {
            self.state = State::Proceeding;
        } else {
            self.state = State::Completed;
            out.push(Step::Set(Timer::J, if self.reliable { Duration::ZERO } else { timing.whole() }));
        }
    }

    pub fn timer(&mut self, timer: Timer, out: &mut Steps) {
        if (self.state, timer) == (State::Completed, Timer::J) {
            self.state = State::Terminated;
            out.push(Step::Gone);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;

    #[test]
    fn a_repeat_gets_the_answer_again_until_timer_j() {
        let mut t = Server::new(false);
        assert_eq!(said(|s| t.repeat(s)), "", "nothing to say yet");
        assert_eq!(said(|s| t.respond(200, message("200"), &TIMING, s)), "send 200, set J 32000");
        assert_eq!(said(|s| t.repeat(s)), "send 200");
        assert_eq!(said(|s| t.respond(500, message("500"), &TIMING, s)), "", "one final only");
        assert_eq!(said(|s| t.timer(Timer::J, s)), "gone");
        assert_eq!(t.state(), State::Terminated);
    }

    #[test]
    fn over_a_reliable_transport_it_ends_at_once() {
        let mut t = Server::new(true);
        assert_eq!(said(|s| t.respond(200, message("200"), &TIMING, s)), "send 200, set J 0");
    }
}
