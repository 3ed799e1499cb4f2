//! When a host wants to act next, asked once for each time that it was touched: a run asks every host after every datagram,
//! and only one of them has changed.

use common::time::Time;
use std::cell::Cell;
use std::ops::{Deref, DerefMut};

pub trait Due {
    /// From nothing but the host's own state.
    fn due(&self) -> Option<Time>;
}

/// One answer in so many is asked for again, whether it still holds.
const CHECKED: u32 = 256;

pub struct Timed<T> {
    host: T,
    known: Cell<Option<Option<Time>>>,
    asked: Cell<u32>,
}

impl<T: Due> Timed<T> {
    pub fn new(host: T) -> Timed<T> {
        Timed { host, known: Cell::new(None), asked: Cell::new(0) }
    }

    pub fn next_due(&self) -> Option<Time> {
        let Some(known) = self.known.get() else {
            let due = self.host.due();
            self.known.set(Some(due));
            return due;
        };
        self.asked.set(self.asked.get().wrapping_add(1));
        if self.asked.get().is_multiple_of(CHECKED) {
            assert_eq!(known, self.host.due(), "a host changed when it is due while nobody touched it");
        }
        known
    }
}

impl<T> Deref for Timed<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.host
    }
}

impl<T> DerefMut for Timed<T> {
    fn deref_mut(&mut self) -> &mut T {
        self.known.set(None);
        &mut self.host
    }
}
