//! Many calls over a bad network, while backups come and go. The backups are as simple as can be: they apply a record
//! whose predecessor they have, want what they miss, and remember nothing of calls that are gone. No message leaves
//! without being held by one of them or counted, and when it is quiet again they hold what they should, nothing else.

#![allow(clippy::unwrap_used)]
use super::tests::{US, accepted, hash, placement, post, record, send};
use super::*;
use crate::image::Part;
use crate::record::What;
use crate::shadow::words;
use std::collections::BTreeSet;

const CALLS: u64 = 40;

struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

struct Backup {
    us: Post,
    floor: u64,
    heard: BTreeSet<u64>,
    calls: BTreeMap<CallHash, (RecordNo, Image)>,
    /// Up to which record it has ever held a call, for the checker.
    reached: BTreeMap<CallHash, RecordNo>,
}

impl Backup {
    fn new(us: Post) -> Backup {
        Backup { us, floor: 0, heard: BTreeSet::new(), calls: BTreeMap::new(), reached: BTreeMap::new() }
    }

    /// What it answers.
    fn hear(&mut self, now: Time, plain: &[u8]) -> Vec<Word> {
        let mut answers = Vec::new();
        for word in words::decode(self.us, plain).unwrap() {
            let Word::Letter { number, floor, body } = word else { panic!("{word:?}") };
            self.floor = self.floor.max(floor);
            let again = number < self.floor || self.heard.contains(&number);
            if again || self.is_done(now, body, &mut answers) {
                self.heard.insert(number);
                answers.push(Word::Acks { numbers: vec![number] });
            }
        }
        answers
    }

    fn is_done(&mut self, now: Time, body: Body, answers: &mut Vec<Word>) -> bool {
        match body {
            Body::Record { no, previous, hash, key, what } => {
                let (newest, mut image) = self.calls.get(&hash).cloned().unwrap_or_default();
                if no <= newest {
                    return true;
                }
                if previous == RecordNo(0) {
                    image = Image::default();
                } else if previous != newest {
                    answers.push(Word::Want { hash });
                    return false;
                }
                image.apply(now, &key, what);
                self.keep(hash, no, image);
            }
            Body::Whole { no, hash, image, .. } => {
                if self.calls.get(&hash).is_none_or(|(newest, _)| *newest <= no) {
                    self.keep(hash, no, *image);
                }
            }
            Body::Release { no, hash } => {
                if self.calls.get(&hash).is_none_or(|(newest, _)| *newest <= no) {
                    self.keep(hash, no, Image::default());
                }
            }
            Body::Check { first, last, calls } => {
                let listed: BTreeMap<CallHash, RecordNo> = calls.into_iter().collect();
                let older =
                    |(hash, no): &(&CallHash, &RecordNo)| self.calls.get(*hash).is_none_or(|(newest, _)| newest < *no);
                let missed = listed.iter().filter(older).map(|(hash, _)| *hash);
                let ours = self.calls.range(first..=last).map(|(hash, _)| *hash);
                let surplus = ours.filter(|hash| !listed.contains_key(hash));
                answers.extend(missed.chain(surplus).map(|hash| Word::Want { hash }));
            }
            Body::Probe => {}
        }
        true
    }

    fn keep(&mut self, hash: CallHash, no: RecordNo, image: Image) {
        let reached = self.reached.entry(hash).or_default();
        *reached = no.max(*reached);
        if image.is_empty() {
            self.calls.remove(&hash);
        } else {
            self.calls.insert(hash, (no, image));
        }
    }
}

#[derive(Clone)]
enum Bound {
    Out(Parcel),
    Back(Post, Word),
}

struct Storm {
    dice: Dice,
    now: Time,
    /// Of a hundred datagrams so many are lost, and so many doubled.
    loss: u64,
    shipper: Shipper,
    backups: BTreeMap<Post, Backup>,
    wire: BTreeMap<(Time, u64), Bound>,
    carried: u64,
    /// How far each call has come, and the CSeq of its INVITE.
    calls: Vec<(u8, u32)>,
    /// The call of each record.
    records: Vec<CallHash>,
    left: usize,
}

impl Storm {
    fn new(seed: u64) -> Storm {
        Storm {
            dice: Dice(seed),
            now: Time(1_000_000),
            loss: 20,
            shipper: Shipper::new(US, BTreeMap::new()),
            backups: BTreeMap::new(),
            wire: BTreeMap::new(),
            carried: 0,
            calls: vec![(0, 0); CALLS as usize],
            records: Vec::new(),
            left: 0,
        }
    }

    /// Does something to the shipper, carries its mail, and looks at what leaves.
    fn with(&mut self, deed: impl FnOnce(&mut Shipper, Time, &mut Vec<Effect>)) {
        let before = self.shipper.status().unprotected;
        let mut released = Vec::new();
        deed(&mut self.shipper, self.now, &mut released);
        let unprotected = self.shipper.status().unprotected - before;
        let bare = released.iter().filter(|effect| !self.is_held(effect)).count();
        assert!(bare as u64 <= unprotected, "{bare} messages left without a backup, {unprotected} were counted");
        self.left += released.len();
        for parcel in self.shipper.mail() {
            self.carry(Bound::Out(parcel));
        }
    }

    fn is_held(&self, effect: &Effect) -> bool {
        let Effect::Send { after: Some(no), .. } = effect else { panic!("{effect:?}") };
        let hash = self.records[no.0 as usize - 1];
        self.backups.values().any(|backup| backup.reached.get(&hash) >= Some(no))
    }

    fn carry(&mut self, bound: Bound) {
        let lost = self.dice.roll(100) < self.loss;
        let doubled = self.dice.roll(100) < self.loss;
        let copies = if lost { 0 } else { 1 + usize::from(doubled) };
        for _ in 0..copies {
            self.carried += 1;
            let at = self.now + Duration::from_micros(200 + self.dice.roll(8_000));
            self.wire.insert((at, self.carried), bound.clone());
        }
    }

    fn placed(&mut self, nodes: &[u16]) {
        let placement = placement(nodes);
        self.backups.retain(|to, _| placement.live(to.node) == Some(to.boot));
        for to in nodes.iter().map(|node| post(*node)) {
            self.backups.entry(to).or_insert_with(|| Backup::new(to));
        }
        self.with(|shipper, now, released| shipper.placed(now, &placement, released));
    }

    /// One of the calls goes on, begins or ends; a message depends on it.
    fn act(&mut self) {
        let call = self.dice.roll(CALLS) as u16;
        let status = 400 + self.dice.roll(200) as u16;
        let (phase, cseq) = &mut self.calls[usize::from(call)];
        let what = match *phase {
            0 => accepted("INVITE sip:b@h SIP/2.0\r\n\r\n".into()),
            1 => What::Cancelled,
            2 => What::Refused { status, response: Bytes::new() },
            _ => What::Over,
        };
        *cseq += u32::from(*phase == 0);
        *phase = (*phase + 1) % 4;
        let cseq = *cseq;
        self.records.push(hash(call));
        let no = self.records.len() as u64;
        self.with(|shipper, now, released| {
            shipper.take(now, record(no, call, cseq, what), released);
            shipper.take(now, send(Some(no), "x"), released);
        });
    }

    /// Lets a millisecond pass.
    fn step(&mut self) {
        self.now = self.now + Duration::from_millis(1);
        while let Some(entry) = self.wire.first_entry().filter(|entry| entry.key().0 <= self.now) {
            match entry.remove() {
                Bound::Out(parcel) => {
                    let Some(backup) = self.backups.get_mut(&parcel.to) else { continue };
                    for answer in backup.hear(self.now, &parcel.plain) {
                        self.carry(Bound::Back(parcel.to, answer));
                    }
                }
                Bound::Back(from, word) => {
                    self.with(|shipper, now, released| shipper.hear(now, from, &word, released));
                }
            }
        }
        if self.shipper.next_due().is_some_and(|due| due <= self.now) {
            self.with(|shipper, now, released| shipper.tick(now, released));
        }
    }
}

/// Without its moments: a backup counts them from when it heard of them.
fn timeless(image: &Image) -> Vec<Part> {
    let mut parts = image.clone().into_parts();
    parts.iter_mut().flat_map(|part| &mut part.invite).for_each(|invite| invite.at = Time(0));
    parts
}

#[test]
fn when_it_is_quiet_again_every_backup_holds_what_it_should() {
    for seed in 0..20 {
        let mut storm = Storm::new(seed);
        for nodes in [&[2, 3][..], &[2, 3, 4], &[2, 4], &[2, 3, 4, 5]] {
            storm.placed(nodes);
            for _ in 0..800 {
                storm.step();
                if storm.dice.roll(100) < 60 {
                    storm.act();
                }
            }
        }
        storm.loss = 0;
        (0..6_000).for_each(|_| storm.step());
        let status = storm.shipper.status();
        assert_eq!((storm.left, status.held, status.slow), (storm.records.len(), 0, 0), "seed {seed}");
        assert_eq!(storm.shipper.count_copies(usize::MAX), [0, 0, status.calls as u64], "seed {seed}");
        for (to, backup) in &storm.backups {
            let own = storm.shipper.own.iter().filter(|(_, own)| own.backups.contains(to));
            let should: BTreeMap<_, _> = own.map(|(hash, own)| (hash, timeless(&own.image))).collect();
            let does: BTreeMap<_, _> = backup.calls.iter().map(|(hash, held)| (*hash, timeless(&held.1))).collect();
            assert_eq!(does, should, "seed {seed}, {to:?}");
        }
    }
}
