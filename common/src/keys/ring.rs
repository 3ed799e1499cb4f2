//! Keys of one use, by their ids, and which of them stand. All 256 are there from the beginning (they are derived from the rack
//! key, so nothing secret travels); a turn only moves the span. Ids go round: after 255 comes 0.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// Half of the circle is ahead of an id, the other half behind it (RFC 1982).
const HALF: u8 = 128;
/// Who has not heard of a turn yet understands who has: so many ids after the newest verify. What is further on is what was
/// turned away from long ago.
const AHEAD: u16 = 64;

/// The newest key writes. From the oldest on all verify, up to some after the newest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Span {
    pub oldest: u8,
    pub newest: u8,
}

impl Default for Span {
    /// A new rack's.
    fn default() -> Span {
        Span { oldest: 1, newest: 1 }
    }
}

impl Span {
    pub fn verifies(self, id: u8) -> bool {
        u16::from(id.wrapping_sub(self.oldest)) < u16::from(self.count()) + AHEAD
    }

    /// How many keys stand.
    pub fn count(self) -> u8 {
        self.newest.wrapping_sub(self.oldest).wrapping_add(1)
    }

    /// The one whose newest is further on; of two with the same newest, the one that drops more.
    pub fn or_later(self, other: Span) -> Span {
        match other.newest == self.newest {
            true if is_at_or_after(other.oldest, self.oldest) => other,
            false if is_at_or_after(other.newest, self.newest) => other,
            _ => self,
        }
    }
}

/// What a ring stands on, in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stand {
    span: Span,
    word: Word,
}

/// Whose word it is. Until it is `Told`, a process may be far behind the rack, and every key verifies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Word {
    Nobodys = 0,
    /// Of some who hold the key that writes.
    Proved = 1,
    /// Of one who knows.
    Told = 2,
}

impl Stand {
    fn to_bits(self) -> u32 {
        u32::from_be_bytes([0, self.word as u8, self.span.oldest, self.span.newest])
    }

    fn from_bits(bits: u32) -> Stand {
        let [_, word, oldest, newest] = bits.to_be_bytes();
        let word = [Word::Proved, Word::Told].into_iter().find(|known| *known as u8 == word).unwrap_or(Word::Nobodys);
        Stand { span: Span { oldest, newest }, word }
    }
}

/// Of two ids the one that is further on.
pub fn later(one: u8, other: u8) -> u8 {
    if is_at_or_after(other, one) { other } else { one }
}

fn is_at_or_after(id: u8, other: u8) -> bool {
    id.wrapping_sub(other) < HALF
}

/// See the module. Read by every thread of a process for each message, moved when an epoch says so.
pub struct KeyRing<K> {
    /// By id.
    keys: Arc<[K]>,
    stand: AtomicU32,
}

/// The same keys; from here on each turns alone.
impl<K> Clone for KeyRing<K> {
    fn clone(&self) -> KeyRing<K> {
        KeyRing { keys: self.keys.clone(), stand: AtomicU32::new(self.stand().to_bits()) }
    }
}

impl<K> KeyRing<K> {
    /// Under the first id, as a new rack; but nobody has said so.
    pub fn new(key: impl FnMut(u8) -> K) -> KeyRing<K> {
        let stand = Stand { span: Span::default(), word: Word::Nobodys };
        KeyRing { keys: (0..=u8::MAX).map(key).collect(), stand: AtomicU32::new(stand.to_bits()) }
    }

    fn stand(&self) -> Stand {
        Stand::from_bits(self.stand.load(Ordering::Relaxed))
    }

    pub fn span(&self) -> Span {
        self.stand().span
    }

    /// The same, if somebody has said so who knows.
    pub fn told(&self) -> Option<Span> {
        let stand = self.stand();
        (stand.word == Word::Told).then_some(stand.span)
    }

    /// Forwards only, once it was told where the rack stands.
    pub fn turn(&self, to: Span) {
        self.change(|Stand { span, word }| {
            Some(Stand { span: if word == Word::Told { span.or_later(to) } else { to }, word: Word::Told })
        });
    }

    /// Somebody has proved that he holds this key. If it is a newer one than ours, the rack has turned to it, and this one
    /// writes, too.
    pub fn proved(&self, id: u8) {
        self.change(|Stand { span, word }| match word {
            // Only forwards from there: an old datagram proves an old key.
            Word::Proved | Word::Told if id == span.newest || !is_at_or_after(id, span.newest) => None,
            // Which older ones verify still, only one who knows can say.
            Word::Told => Some(Stand { span: Span { newest: id, ..span }, word }),
            Word::Nobodys | Word::Proved => Some(Stand { span: Span { oldest: id, newest: id }, word: Word::Proved }),
        });
    }

    /// Two threads may hear of two turns at once.
    fn change(&self, to: impl Fn(Stand) -> Option<Stand>) {
        let change = |bits| to(Stand::from_bits(bits)).map(Stand::to_bits);
        // Nothing else hangs on the order: either key of a turn verifies everywhere.
        let _ = self.stand.fetch_update(Ordering::Relaxed, Ordering::Relaxed, change);
    }

    /// The one that writes.
    pub fn current(&self) -> (u8, &K) {
        let id = self.stand().span.newest;
        (id, &self.keys[usize::from(id)])
    }

    /// One that verifies.
    pub fn get(&self, id: u8) -> Option<&K> {
        let Stand { span, word } = self.stand();
        (word != Word::Told || span.verifies(id)).then(|| &self.keys[usize::from(id)])
    }
}

impl<K> fmt::Debug for KeyRing<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyRing({:?})", self.span())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn untold() -> KeyRing<u8> {
        KeyRing::new(|id| id)
    }

    fn ring() -> KeyRing<u8> {
        let ring = untold();
        ring.turn(Span::default());
        ring
    }

    fn span(oldest: u8, newest: u8) -> Span {
        Span { oldest, newest }
    }

    #[test]
    fn the_newest_writes_and_from_the_oldest_on_all_verify() {
        let ring = ring();
        assert_eq!((ring.current(), ring.get(1), ring.get(0)), ((1, &1), Some(&1), None));
        assert_eq!(ring.get(2), Some(&2), "from one who has heard of the turn before us");
        ring.turn(span(1, 2));
        assert_eq!((ring.current(), ring.get(1)), ((2, &2), Some(&1)));
        ring.turn(span(2, 3));
        assert_eq!((ring.current(), ring.get(2), ring.get(1)), ((3, &3), Some(&2), None));
    }

    #[test]
    fn it_never_turns_back() {
        let ring = ring();
        ring.turn(span(4, 5));
        ring.turn(span(3, 4));
        assert_eq!(ring.span(), span(4, 5));
        ring.turn(span(5, 5));
        assert_eq!((ring.span(), ring.span().count()), (span(5, 5), 1));
    }

    #[test]
    fn what_was_turned_away_from_does_not_come_back_as_a_newer_one() {
        let ring = ring();
        (2..=190).for_each(|newest| ring.turn(span(newest - 1, newest)));
        assert_eq!((ring.get(188), ring.get(1), ring.get(254), ring.get(255)), (None, None, Some(&254), None));
    }

    #[test]
    fn of_two_spans_the_later_one_counts_as_a_whole() {
        assert_eq!(span(22, 120).or_later(span(151, 152)), span(151, 152));
        assert_eq!(span(151, 152).or_later(span(22, 120)), span(151, 152));
        assert_eq!(span(3, 5).or_later(span(5, 5)), span(5, 5));
        assert_eq!(span(5, 5).or_later(span(3, 5)), span(5, 5));
    }

    #[test]
    fn it_goes_round() {
        let ring = ring();
        for newest in 2..=255 {
            ring.turn(span(newest - 1, newest));
        }
        ring.turn(span(255, 0));
        assert_eq!((ring.current().0, ring.get(255), ring.get(254), ring.span().count()), (0, Some(&255), None, 2));
        ring.turn(span(0, 1));
        assert_eq!((ring.current().0, ring.get(0), ring.get(255)), (1, Some(&0), None));
    }

    #[test]
    fn who_was_told_nothing_takes_the_racks_word() {
        let ring = untold();
        assert_eq!((ring.current(), ring.get(200)), ((1, &1), Some(&200)));
        ring.proved(200);
        assert_eq!((ring.current(), ring.get(1)), ((200, &200), Some(&1)), "it may be a lie of yesterday");
        ring.proved(201);
        ring.proved(199);
        assert_eq!(ring.current().0, 201, "an old datagram");
        ring.turn(span(199, 201));
        assert_eq!((ring.current(), ring.get(199), ring.get(198)), ((201, &201), Some(&199), None));
    }

    #[test]
    fn who_proves_a_newer_key_turns_it() {
        let ring = ring();
        ring.proved(1);
        assert_eq!(ring.span(), span(1, 1));
        ring.proved(4);
        assert_eq!(ring.span(), span(1, 4), "what the older ones are worth, a turn says");
        ring.proved(3);
        assert_eq!(ring.span(), span(1, 4));
    }
}
