//! The agent's core: which child is to run, and when. Pure: `io/up` starts and kills, and reports what happened.
//! A child that dies is started again by [`Backoff`]; the end is SIGTERM to all, SIGKILL to those left after 3 s.

use crate::backoff::Backoff;
use common::time::{Duration, Time};

const PATIENCE: Duration = Duration::from_secs(3);

/// Position of a service in the agent's list.
pub type Index = usize;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input {
    /// The child runs.
    Started(Index),
    /// It ended, or could not be started.
    Ended(Index),
    /// End everything; a second time: at once.
    Stop,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    Start(Index),
    /// It will be started again after this time.
    Waits(Index, Duration),
    Terminate(Index),
    Kill(Index),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Due(Time),
    /// `Start` was said, `Started` has not come.
    Starting(Time),
    Running(Time),
    Ended,
}

pub struct Supervisor {
    children: Vec<(State, Backoff)>,
    /// Set by the first `Stop`: when those left are killed. `None` inside once that is done.
    stopping: Option<Option<Time>>,
}

impl Supervisor {
    /// All `count` children are due at once.
    pub fn new(count: usize, now: Time) -> Supervisor {
        Supervisor { children: vec![(State::Due(now), Backoff::default()); count], stopping: None }
    }

    pub fn handle(&mut self, now: Time, input: Input, out: &mut Vec<Effect>) {
        match input {
            Input::Started(i) => {
                self.children[i].0 = State::Running(now);
                if self.stopping.is_some() {
                    out.push(Effect::Terminate(i));
                }
            }
            Input::Ended(i) => self.ended(now, i, out),
            Input::Stop => self.stop(now, out),
        }
    }

    fn ended(&mut self, now: Time, i: Index, out: &mut Vec<Effect>) {
        let stopping = self.stopping.is_some();
        let (state, backoff) = &mut self.children[i];
        let lived = match *state {
            State::Running(since) | State::Starting(since) => now.since(since),
            State::Due(_) | State::Ended => Duration::ZERO,
        };
        if stopping {
            *state = State::Ended;
            return;
        }
        let wait = backoff.died(lived);
        *state = State::Due(now + wait);
        out.push(Effect::Waits(i, wait));
    }

    fn stop(&mut self, now: Time, out: &mut Vec<Effect>) {
        let first = self.stopping.is_none();
        self.stopping = Some(first.then_some(now + PATIENCE));
        for (i, (state, _)) in self.children.iter_mut().enumerate() {
            match state {
                State::Due(_) => *state = State::Ended,
                State::Running(_) | State::Starting(_) => {
                    out.push(if first { Effect::Terminate(i) } else { Effect::Kill(i) });
                }
                State::Ended => {}
            }
        }
    }

    pub fn tick(&mut self, now: Time, out: &mut Vec<Effect>) {
        for (i, (state, _)) in self.children.iter_mut().enumerate() {
            if matches!(state, State::Due(at) if *at <= now) {
                *state = State::Starting(now);
                out.push(Effect::Start(i));
            }
        }
        if let Some(Some(at)) = self.stopping
            && at <= now
        {
            self.stopping = Some(None);
            let left = self.children.iter().enumerate().filter(|(_, (state, _))| *state != State::Ended);
            out.extend(left.map(|(i, _)| Effect::Kill(i)));
        }
    }

    pub fn next_due(&self) -> Option<Time> {
        let starts = self.children.iter().filter_map(|(state, _)| match state {
            State::Due(at) => Some(*at),
            _ => None,
        });
        starts.chain(self.stopping.flatten()).min()
    }

    pub fn is_stopping(&self) -> bool {
        self.stopping.is_some()
    }

    /// Everything was ended and has ended.
    pub fn is_done(&self) -> bool {
        self.stopping.is_some() && self.children.iter().all(|(state, _)| *state == State::Ended)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Time {
        Time(ms * 1000)
    }

    fn run(s: &mut Supervisor, ms: u64, input: Option<Input>) -> Vec<Effect> {
        let mut out = Vec::new();
        if let Some(input) = input {
            s.handle(at(ms), input, &mut out);
        }
        s.tick(at(ms), &mut out);
        out
    }

    #[test]
    fn a_dead_child_is_started_at_once_and_then_later_and_later() {
        let mut s = Supervisor::new(2, at(0));
        assert_eq!(run(&mut s, 0, None), [Effect::Start(0), Effect::Start(1)]);
        assert_eq!(run(&mut s, 1, Some(Input::Started(0))), []);
        assert_eq!(run(&mut s, 1, Some(Input::Started(1))), []);
        assert_eq!(run(&mut s, 50, Some(Input::Ended(1))), [Effect::Waits(1, Duration::ZERO), Effect::Start(1)]);
        run(&mut s, 51, Some(Input::Started(1)));
        assert_eq!(run(&mut s, 60, Some(Input::Ended(1))), [Effect::Waits(1, Duration::from_millis(100))]);
        assert_eq!(s.next_due(), Some(at(160)));
        assert_eq!(run(&mut s, 159, None), []);
        assert_eq!(run(&mut s, 160, None), [Effect::Start(1)]);
    }

    #[test]
    fn the_end_is_term_then_kill_after_three_seconds() {
        let mut s = Supervisor::new(2, at(0));
        run(&mut s, 0, None);
        run(&mut s, 1, Some(Input::Started(0)));
        run(&mut s, 1, Some(Input::Started(1)));
        assert_eq!(run(&mut s, 10, Some(Input::Stop)), [Effect::Terminate(0), Effect::Terminate(1)]);
        assert_eq!(run(&mut s, 20, Some(Input::Ended(0))), []);
        assert!(!s.is_done());
        assert_eq!(run(&mut s, 3010, None), [Effect::Kill(1)]);
        assert_eq!(run(&mut s, 3011, None), []);
        run(&mut s, 3012, Some(Input::Ended(1)));
        assert!(s.is_done());
    }

    #[test]
    fn a_second_stop_kills_at_once_and_nothing_is_restarted() {
        let mut s = Supervisor::new(2, at(0));
        run(&mut s, 0, None);
        run(&mut s, 1, Some(Input::Started(0)));
        run(&mut s, 1, Some(Input::Ended(1)));
        run(&mut s, 1, Some(Input::Ended(1)));
        assert_eq!(run(&mut s, 10, Some(Input::Stop)), [Effect::Terminate(0)]);
        assert_eq!(run(&mut s, 11, Some(Input::Stop)), [Effect::Kill(0)]);
        run(&mut s, 12, Some(Input::Ended(0)));
        assert!(s.is_done());
        assert_eq!(run(&mut s, 9000, None), []);
    }
}
