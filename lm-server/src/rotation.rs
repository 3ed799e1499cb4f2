//! Which keys stand, and since when each is the newest: what an operator's turn does, and when it comes too soon. Pure;
//! `io::rotation` keeps it on disk, `io::keys` takes the orders.
//!
//! A turn makes the next id the newest, which writes from then on. Two keys of the planes and of the nonces stand: what was
//! written a moment ago verifies still. Token keys stand while there is room, and at least for as long as a call may live, since
//! the far ends carry tokens.

use common::keys::{Generations, Span, Use};
use common::time::WallMillis;
use common::token::LONGEST_CALL;
use serde::{Deserialize, Serialize};

/// For how long a far end may carry a token: its call's life, and an hour for ringing and for a clock that was moved.
const CARRIED_MS: u64 = LONGEST_CALL.as_millis() as u64 + 3_600_000;
/// So many token keys never stand: the ids go round, and half of them must lie ahead of the oldest.
const TOO_MANY: usize = 100;
/// Nodes hear of a turn within a heartbeat or two; this is time enough for all of them.
const HEARD_MS: u64 = 10_000;

/// The ids that stand. Its JSON is the file `keys.json`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rotation {
    token: Line,
    nonce: Line,
    plane: Line,
}

/// Why a key is not turned now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TooSoon {
    #[error(
        "the {key} key turned less than {heard_s} s ago, and a node that has not heard of it would be shut out by another turn; turn it again in {wait_s} s, or if it has leaked with --now (now=true)",
        key = what.label(),
        heard_s = HEARD_MS / 1000
    )]
    JustTurned { what: Use, wait_s: u64 },
    #[error(
        "{standing} token keys stand, and calls may carry tokens of each; turn it again in {wait_s} s, or with --now (now=true), which gives the tokens of all those calls up"
    )]
    Full { standing: usize, wait_s: u64 },
}

impl Rotation {
    pub fn generations(&self) -> Generations {
        let mut all = Generations::default();
        for what in Use::ALL {
            all.set(what, self.line(what).span());
        }
        all
    }

    /// When the newest key began, in Unix milliseconds; 0: with the rack.
    pub fn since_ms(&self, what: Use) -> u64 {
        self.line(what).newest.since_ms
    }

    /// The nodes stand under these keys, and no file says since when (it was lost, or the rack is new): since now.
    pub fn found(known: &Generations, now: WallMillis) -> Rotation {
        let line = |what| Line::found(known.of(what), now);
        Rotation { token: line(Use::Token), nonce: line(Use::Nonce), plane: line(Use::Plane) }
    }

    /// The nodes stand under these keys. What is news here (the file is of an older disk) counts from now, and so does what a
    /// clock that has been set back since would put into the future.
    pub fn follow(&mut self, known: &Generations, now: WallMillis) {
        for what in Use::ALL {
            self.line_mut(what).follow(known.of(what), now);
        }
    }

    /// The next id is the newest. `at_once`, for a key that has leaked: it is also the only one, however short ago the last
    /// turn was. Calls whose tokens another key wrote then lose their nodes, challenges are made anew (`stale=true`),
    /// and what is on its way over the planes is lost.
    ///
    /// # Errors
    /// Nothing has changed.
    pub fn turn(&mut self, what: Use, at_once: bool, now: WallMillis) -> Result<(), TooSoon> {
        let line = self.line_mut(what);
        let gone = match what {
            _ if at_once => line.older.len(),
            // Subscriptions and registrations carry tokens for longer than any call: as many stay as there is room for.
            Use::Token => (line.older.len() + 2).saturating_sub(TOO_MANY - 1).min(line.outlived(now)),
            Use::Nonce | Use::Plane => line.older.len(),
        };
        let standing = line.older.len() + 1 - gone;
        if !at_once && what == Use::Token && standing + 1 >= TOO_MANY {
            return Err(TooSoon::Full { standing, wait_s: line.oldest_outlived_in_s(now) });
        }
        let left_ms = line.newest.ends_ms(HEARD_MS).saturating_sub(now.0);
        if !at_once && what != Use::Token && left_ms > 0 {
            return Err(TooSoon::JustTurned { what, wait_s: left_ms.div_ceil(1000) });
        }
        line.older.drain(..gone);
        line.begin(now);
        if at_once {
            line.older.clear();
        }
        Ok(())
    }

    fn line(&self, what: Use) -> &Line {
        match what {
            Use::Token => &self.token,
            Use::Nonce => &self.nonce,
            Use::Plane => &self.plane,
        }
    }

    fn line_mut(&mut self, what: Use) -> &mut Line {
        match what {
            Use::Token => &mut self.token,
            Use::Nonce => &mut self.nonce,
            Use::Plane => &mut self.plane,
        }
    }
}

/// One key that stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Key {
    id: u8,
    /// When it became the newest, in Unix milliseconds.
    since_ms: u64,
}

impl Key {
    fn ends_ms(self, lasts_ms: u64) -> u64 {
        // Since the beginning: long ago, whatever the clock says.
        if self.since_ms == 0 { 0 } else { self.since_ms.saturating_add(lasts_ms) }
    }
}

/// The keys of one use, oldest first; each id follows the one before it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<Key>", into = "Vec<Key>")]
struct Line {
    older: Vec<Key>,
    newest: Key,
}

impl Default for Line {
    fn default() -> Line {
        Line { older: Vec::new(), newest: Key { id: Span::default().newest, since_ms: 0 } }
    }
}

impl Line {
    fn span(&self) -> Span {
        let oldest = self.older.first().unwrap_or(&self.newest);
        Span { oldest: oldest.id, newest: self.newest.id }
    }

    fn found(span: Span, now: WallMillis) -> Line {
        if span == Span::default() {
            return Line::default();
        }
        let stand = span.count().clamp(1, TOO_MANY as u8 - 1);
        let key = |back: u8| Key { id: span.newest.wrapping_sub(back), since_ms: now.0 };
        Line { older: (1..stand).rev().map(key).collect(), newest: key(0) }
    }

    /// The next id is the newest.
    fn begin(&mut self, now: WallMillis) {
        self.older.push(self.newest);
        self.newest = Key { id: self.newest.id.wrapping_add(1), since_ms: now.0 };
    }

    fn follow(&mut self, known: Span, now: WallMillis) {
        let span = self.span().or_later(known);
        while self.newest.id != span.newest {
            self.begin(now);
        }
        let stand = usize::from(span.count()).clamp(1, TOO_MANY - 1);
        let gone = (self.older.len() + 1).saturating_sub(stand);
        self.older.drain(..gone);
        for key in self.older.iter_mut().chain([&mut self.newest]) {
            key.since_ms = key.since_ms.min(now.0);
        }
    }

    /// How many of the oldest nobody carries any more: others have been writing for longer than that.
    fn outlived(&self, now: WallMillis) -> usize {
        let successors = self.older.iter().skip(1).chain([&self.newest]).take(self.older.len());
        successors.take_while(|next| now.0 > next.ends_ms(CARRIED_MS)).count()
    }

    /// When one more of the oldest may go.
    fn oldest_outlived_in_s(&self, now: WallMillis) -> u64 {
        let next = self.older.get(self.outlived(now) + 1).unwrap_or(&self.newest);
        next.ends_ms(CARRIED_MS).saturating_sub(now.0) / 1000 + 1
    }
}

impl From<Line> for Vec<Key> {
    fn from(line: Line) -> Vec<Key> {
        let mut keys = line.older;
        keys.push(line.newest);
        keys
    }
}

impl TryFrom<Vec<Key>> for Line {
    type Error = &'static str;

    fn try_from(mut keys: Vec<Key>) -> Result<Line, &'static str> {
        let newest = keys.pop().ok_or("a list of keys is empty")?;
        let all = keys.iter().chain([&newest]);
        if !all.clone().zip(all.skip(1)).all(|(key, next)| next.id == key.id.wrapping_add(1)) {
            return Err("the ids of a list do not follow each other");
        }
        if keys.len() + 1 >= TOO_MANY {
            return Err("a list has too many keys");
        }
        Ok(Line { older: keys, newest })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const HOUR: u64 = 3_600_000;
    /// Some day.
    const DAY: u64 = 1_750_000_000_000;

    fn at(ms: u64) -> WallMillis {
        WallMillis(DAY + ms)
    }

    fn span(oldest: u8, newest: u8) -> Span {
        Span { oldest, newest }
    }

    fn of(rotation: &Rotation, what: Use) -> (u8, u8) {
        let span = rotation.generations().of(what);
        (span.oldest, span.newest)
    }

    #[test]
    fn a_new_rack_has_the_first_key_of_each_since_it_began() {
        let rotation = Rotation::default();
        assert_eq!(rotation.generations(), Generations::default());
        assert!(Use::ALL.iter().all(|what| rotation.since_ms(*what) == 0));
        let mut early = rotation.clone();
        assert_eq!(early.turn(Use::Plane, false, WallMillis(5)), Ok(()), "whatever the clock says");
    }

    #[test]
    fn two_keys_of_planes_and_nonces_stand() {
        for what in [Use::Plane, Use::Nonce] {
            let mut rotation = Rotation::default();
            rotation.turn(what, false, at(0)).unwrap();
            assert_eq!((of(&rotation, what), rotation.since_ms(what)), ((1, 2), DAY));
            rotation.turn(what, false, at(HEARD_MS)).unwrap();
            assert_eq!(of(&rotation, what), (2, 3));
            let mut others = Use::ALL.into_iter().filter(|other| *other != what);
            assert!(others.all(|other| of(&rotation, other) == (1, 1)));
        }
    }

    #[test]
    fn a_turn_just_after_another_is_too_soon() {
        for what in [Use::Plane, Use::Nonce] {
            let mut rotation = Rotation::default();
            rotation.turn(what, false, at(0)).unwrap();
            let before = rotation.clone();
            let refusal = rotation.turn(what, false, at(HEARD_MS - 3_500)).unwrap_err();
            assert_eq!((refusal, &rotation), (TooSoon::JustTurned { what, wait_s: 4 }, &before));
            assert!(refusal.to_string().starts_with(&format!("the {} key turned less than 10 s ago", what.label())));
            rotation.turn(what, true, at(1)).unwrap();
            assert_eq!(of(&rotation, what), (3, 3), "a leaked key is not waited for");
        }
    }

    #[test]
    fn token_keys_stand_while_there_is_room_and_as_long_as_a_call() {
        let mut rotation = Rotation::default();
        for turn in 0..98 {
            rotation.turn(Use::Token, false, at(turn * 1_000 * HOUR)).unwrap();
        }
        assert_eq!(of(&rotation, Use::Token), (1, 99), "a subscription may carry the first");
        let full = at(98_000 * HOUR);
        rotation.turn(Use::Token, false, full).unwrap();
        assert_eq!(of(&rotation, Use::Token), (2, 100));
        const { assert!(CARRIED_MS > 24 * HOUR) };
    }

    #[test]
    fn a_hundred_token_keys_never_stand() {
        let mut rotation = Rotation::default();
        let mut ms = 0;
        while rotation.turn(Use::Token, false, at(ms)).is_ok() {
            ms += 60_000;
        }
        assert_eq!(rotation.generations().token, span(1, 99));
        let refusal = rotation.turn(Use::Token, false, at(ms)).unwrap_err();
        let TooSoon::Full { standing: 99, wait_s } = refusal else { panic!("{refusal:?}") };
        assert!(rotation.clone().turn(Use::Token, false, at(ms + (wait_s - 1) * 1000)).is_err());
        let mut later = rotation.clone();
        later.turn(Use::Token, false, at(ms + wait_s * 1000)).unwrap();
        assert_eq!(later.generations().token, span(2, 100));
        rotation.turn(Use::Token, true, at(ms)).unwrap();
        assert_eq!(rotation.generations().token, span(100, 100), "with those calls given up");
    }

    #[test]
    fn ids_go_round() {
        let mut rotation = Rotation::default();
        for i in 0..300 {
            rotation.turn(Use::Plane, false, at(i * HEARD_MS)).unwrap();
            rotation.turn(Use::Token, false, at(i * HOUR)).unwrap();
        }
        assert_eq!(rotation.generations().plane, span(44, 45));
        let token = rotation.generations().token;
        assert_eq!((token.newest, token.count()), (45, 99));
    }

    #[test]
    fn a_lost_file_follows_the_nodes() {
        assert_eq!(Rotation::found(&Generations::default(), at(0)), Rotation::default(), "a new rack");
        let far = Generations { token: span(160, 200), nonce: span(254, 1), plane: span(0, 0) };
        assert_eq!(Rotation::found(&far, at(0)).generations(), far, "however far it has come");
        let known = Generations { token: span(3, 6), nonce: span(1, 1), plane: span(9, 9) };
        let mut rotation = Rotation::found(&known, at(0));
        let mut followed = Rotation::default();
        followed.follow(&known, at(0));
        assert_eq!(followed, rotation);
        assert_eq!(rotation.generations(), known);
        assert_eq!(Use::ALL.map(|what| rotation.since_ms(what)), [DAY, 0, DAY]);
        rotation.turn(Use::Token, false, at(CARRIED_MS)).unwrap();
        assert_eq!(of(&rotation, Use::Token), (3, 7), "as if all had been written until now");
        let turned = rotation.clone();
        rotation.follow(&known, at(CARRIED_MS));
        assert_eq!(rotation, turned, "what the nodes have not heard of yet stays");
        rotation.follow(&Generations { token: span(3, 130), ..known }, at(CARRIED_MS));
        assert_eq!(rotation.generations().token, span(32, 130), "as many as may stand");
        assert_eq!(serde_json::from_str::<Rotation>(&serde_json::to_string(&rotation).unwrap()).unwrap(), rotation);
    }

    #[test]
    fn a_clock_that_was_set_back_locks_nobody_out() {
        let mut rotation = Rotation::default();
        rotation.turn(Use::Plane, false, at(1_000 * HOUR)).unwrap();
        rotation.follow(&Generations::default(), at(0));
        assert_eq!(rotation.since_ms(Use::Plane), DAY);
        rotation.turn(Use::Plane, false, at(HEARD_MS)).unwrap();
    }

    #[test]
    fn its_json_is_read_again_and_nonsense_is_not() {
        let mut rotation = Rotation::default();
        rotation.turn(Use::Token, false, at(0)).unwrap();
        let json = serde_json::to_string(&rotation).unwrap();
        assert!(json.contains(r#""token":[{"id":1,"since_ms":0},{"id":2,"since_ms":1750000000000}]"#), "{json}");
        assert_eq!(serde_json::from_str::<Rotation>(&json).unwrap(), rotation);
        let with_ids = |ids: &[u16]| {
            let keys: Vec<String> = ids.iter().map(|id| format!(r#"{{"id":{id},"since_ms":0}}"#)).collect();
            let new = serde_json::to_string(&Rotation::default()).unwrap();
            let text = new.replacen(r#"[{"id":1,"since_ms":0}]"#, &format!("[{}]", keys.join(",")), 1);
            serde_json::from_str::<Rotation>(&text)
        };
        assert_eq!(of(&with_ids(&[255, 0]).unwrap(), Use::Token), (255, 0));
        let many: Vec<u16> = (1..=120).collect();
        let all_wrong: [&[u16]; 5] = [&[], &[1, 3], &[256], &[1, 1], &many];
        for wrong in all_wrong {
            assert!(with_ids(wrong).is_err(), "{wrong:?}");
        }
    }
}
