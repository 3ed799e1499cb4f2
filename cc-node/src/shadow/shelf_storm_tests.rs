//! A holder that repeats its letters until they are acknowledged, over a network that loses, doubles and reorders them:
//! in the end the shelf holds what the holder does.

use super::tests::{Backup, END, HOLDER, begin, key, record, refused, whole};
use super::*;

/// Calls that begin and end all the time.
const CALLS: u64 = 4;
/// Steps in which something happens; then the storm abates.
const STEPS: u64 = 400;

/// An LCG; the same storm for the same seed.
struct Chance(u64);

impl Chance {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}

/// What a letter says.
enum Says {
    Always(Body),
    /// All there is of it when it is sent, each time anew.
    All(CallHash),
}

#[derive(Default)]
struct Model {
    calls: BTreeMap<CallHash, (RecordNo, Image)>,
    /// The newest record.
    newest: u64,
    /// Letters that were written, and those that nobody has acknowledged.
    written: u64,
    open: BTreeMap<u64, Says>,
}

impl Model {
    fn writes(&mut self, says: Says) {
        self.written += 1;
        self.open.insert(self.written, says);
    }

    /// Something happens in one of its calls.
    fn goes_on(&mut self, now: Time, chance: &mut Chance) {
        let hash = CallHash(chance.below(CALLS) << 60);
        let what = match self.calls.contains_key(&hash) {
            false => begin(),
            true if chance.one_in(3) => What::Over,
            true => refused(400 + chance.below(200) as u16),
        };
        self.newest += 1;
        let (previous, mut image) = self.calls.remove(&hash).unwrap_or_default();
        image.apply(now, &key(hash), what.clone());
        if !image.is_empty() {
            self.calls.insert(hash, (RecordNo(self.newest), image));
        }
        self.writes(Says::Always(record(self.newest, previous.0, hash, what)));
    }

    fn checks(&mut self) {
        let calls = self.calls.iter().map(|(hash, (no, _))| (*hash, *no)).collect();
        self.writes(Says::Always(Body::Check { first: CallHash(0), last: END, calls }));
    }

    /// Only one letter at a time tells all of a call.
    fn is_asked_for(&mut self, hash: CallHash) {
        if !self.open.values().any(|says| matches!(says, Says::All(told) if *told == hash)) {
            self.writes(Says::All(hash));
        }
    }

    /// One of the letters that wait for an ack, as it is sent now.
    fn repeats(&self, now: Time, chance: &mut Chance) -> Option<Word> {
        let floor = *self.open.keys().next()?;
        let (number, says) = self.open.iter().nth(chance.below(self.open.len() as u64) as usize)?;
        let body = match says {
            Says::Always(body) => body.clone(),
            Says::All(hash) => match self.calls.get(hash) {
                Some((no, image)) => whole(no.0, *hash, now, image.clone()),
                None => whole(self.newest, *hash, now, Image::default()),
            },
        };
        Some(Word::Letter { number: *number, floor, body })
    }

    fn hears(&mut self, word: Word) {
        match word {
            Word::Acks { numbers } => numbers.iter().for_each(|number| drop(self.open.remove(number))),
            Word::Want { hash } => self.is_asked_for(hash),
            other => panic!("{other:?}"),
        }
    }
}

/// The same, whenever it began.
fn timeless(mut image: Image) -> Image {
    let began = image.youngest();
    image.shift(began, Time(0));
    image
}

fn storm(seed: u64) {
    let (mut chance, mut model, mut backup) = (Chance(seed), Model::default(), Backup::new());
    let mut wire: Vec<Word> = Vec::new();
    let mut step = 0;
    while step < STEPS || !model.open.is_empty() {
        step += 1;
        assert!(step < 100 * STEPS, "seed {seed}: letters {:?} are never done with", model.open.keys());
        backup.later(2);
        match chance.below(12) {
            _ if step >= STEPS => {}
            0 => model.checks(),
            1..=5 => model.goes_on(backup.now, &mut chance),
            _ => {}
        }
        for _ in 0..2 {
            wire.extend(model.repeats(backup.now, &mut chance));
        }
        for _ in 0..chance.below(4) {
            deliver(&mut wire, &mut chance, &mut backup, &mut model);
        }
    }
    // Nobody waits for these any more.
    while !wire.is_empty() {
        deliver(&mut wire, &mut chance, &mut backup, &mut model);
    }
    for (hash, (no, image)) in &model.calls {
        let Some(shelved) = backup.shelf.get(*hash) else { panic!("seed {seed}: {hash:?} is lost") };
        let here = (shelved.holder, shelved.no, timeless(shelved.image.clone()));
        assert_eq!(here, (HOLDER, *no, timeless(image.clone())), "seed {seed}");
    }
    assert_eq!(backup.shelf.status().images, model.calls.len(), "seed {seed}: some have ended long ago");
}

/// One of the letters under way, which may be lost, or come again; the answers may be lost too.
fn deliver(wire: &mut Vec<Word>, chance: &mut Chance, backup: &mut Backup, model: &mut Model) {
    if wire.is_empty() {
        return;
    }
    let at = chance.below(wire.len() as u64) as usize;
    let letter = if chance.one_in(3) { wire[at].clone() } else { wire.swap_remove(at) };
    if chance.one_in(3) {
        return;
    }
    for answer in backup.answers(HOLDER, letter) {
        if !chance.one_in(5) {
            model.hears(answer);
        }
    }
}

#[test]
fn after_a_storm_the_shelf_holds_what_the_holder_holds() {
    (1..=40).for_each(storm);
}
