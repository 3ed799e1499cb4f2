//! A transaction as `table` keeps it: its machine, for whom it works, what it is about, and the timers that run for it.

use super::{Step, Steps, Timer};
use crate::turn::{Address, Turn};
use common::call_hash::CallHash;
use common::deadlines::{Deadlines, Handle};
use common::sip::MethodKind;
use smallvec::SmallVec;

/// What a transaction is about.
#[derive(Clone, Copy, Debug)]
pub struct Subject {
    pub method: MethodKind,
    /// Where its messages go.
    pub address: Address,
    /// Its call, so that all of a call's can be ended at once.
    pub call: CallHash,
}

pub(super) struct Entry<K, M, W> {
    pub serial: u64,
    pub key: K,
    pub machine: M,
    /// For whom.
    pub user: W,
    pub subject: Subject,
    pub timers: SmallVec<[(Timer, Handle); 3]>,
}

/// What the table has to do once a machine's steps are carried out.
#[derive(Default)]
pub(super) struct Done {
    pub gone: bool,
    pub timed_out: bool,
}

impl<K, M, W> Entry<K, M, W> {
    /// `name`: what the timers are called by in `deadlines`.
    pub fn carry_out<T>(
        &mut self,
        turn: &mut Turn<'_>,
        deadlines: &mut Deadlines<T>,
        name: impl Fn(Timer) -> T,
        steps: Steps,
    ) -> Done {
        let mut done = Done::default();
        for step in steps {
            match step {
                Step::Send(message) => turn.send(self.subject.method, self.subject.address, message),
                Step::Set(timer, after) => self.timers.push((timer, deadlines.insert(turn.now + after, name(timer)))),
                Step::Clear(timer) => {
                    self.timers.retain(|(running, handle)| {
                        let kept = *running != timer;
                        if !kept {
                            deadlines.cancel(*handle);
                        }
                        kept
                    });
                }
                Step::TimedOut => done.timed_out = true,
                Step::Gone => done.gone = true,
            }
        }
        done
    }
}
