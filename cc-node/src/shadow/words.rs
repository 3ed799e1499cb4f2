//! What the workers of nodes tell each other about shadows. Words travel in sealed datagrams (`common::wire::packet`): a
//! version octet, for whom it is, then words up to its end, in postcard.
//!
//! A worker of a holder talks to the worker of a backup to which the call's messages would go: both sides are [`Post`]s.
//! Anything may be lost, doubled or late; each word can be heard twice.

use crate::admission;
use crate::effect::Over;
use crate::image::Image;
use crate::probe::Report;
use crate::quarantine::Fingerprint;
use crate::record::{CallKey, RecordNo, What};
use bytes::Bytes;
use common::call_hash::CallHash;
use common::ids::{BootId, NodeId};
use common::time::Time;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

const VERSION: u8 = 1;
/// Words are gathered in one datagram up to here; a longer one goes alone, in fragments if it must.
pub const FULL: usize = 1_400;
/// No datagram is longer.
pub const LONGEST: usize = 60_000;

/// One worker of one incarnation of a node.
pub use common::wire::packet::Sender as Post;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Word {
    /// Holder to backup: repeated until it is acknowledged, or the backup is given up. Numbers count a holder's letters to
    /// one backup from 1; every number below `floor` is settled, so a copy of one that comes late is dropped.
    Letter { number: u64, floor: u64, body: Body },
    /// Backup to holder: these letters are done with. Never waits for anything.
    Acks { numbers: Vec<u64> },
    /// Backup to holder: something of this call is missing here.
    Want { hash: CallHash },
    /// To the other backup of a dead holder's calls: which of them that are mine now do you hold? `question` is repeated
    /// until all parts have come.
    Which { question: u32, dead: NodeId, boot: BootId },
    /// The answer, in parts: each call with its newest record.
    These { question: u32, part: u16, parts: u16, calls: Vec<(CallHash, RecordNo)> },
    /// The asker's next question: tell me all there is of these.
    Fetch { question: u32, hashes: Vec<CallHash> },
    /// The answer, a call each. `image` none: nothing is left of it here.
    Fetched { question: u32, hash: CallHash, no: RecordNo, clock: Time, image: Option<Box<Image>> },
    /// To everybody: these messages must not be handled, each for so many milliseconds more.
    Quarantine { messages: Vec<(Fingerprint, u32)> },
    /// About limits that the rack counts once. Any two workers say it, those of one node too.
    Admission(admission::Word),
    /// To everybody: what a prober knows of addresses of trunks.
    Trunks { reports: Vec<Report> },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Body {
    /// `previous`: the record of the same Call-ID before it, 0 if nothing of that was left; who has not applied that one
    /// cannot apply this one.
    Record { no: RecordNo, previous: RecordNo, hash: CallHash, key: Arc<CallKey>, what: What },
    /// All there is of a Call-ID as of this record. `clock`: the holder's, by which its moments are told.
    Whole { no: RecordNo, hash: CallHash, clock: Time, image: Box<Image> },
    /// You are no backup of it any more, or nothing is left of it.
    Release { no: RecordNo, hash: CallHash },
    /// Now and then: of the calls with hashes from `first` to `last` you are a backup of these of mine, each as of this
    /// record; and of no other of mine.
    Check { first: CallHash, last: CallHash, calls: Vec<(CallHash, RecordNo)> },
    /// Are you there?
    Probe,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WordError {
    #[error("version {0} of shadow words, not {known}", known = VERSION)]
    UnknownVersion(u8),
    #[error("for another incarnation or worker")]
    NotForUs,
    #[error("not words of this version")]
    Malformed,
}

/// One word as it stands in a datagram.
pub fn encode(word: &Word) -> Vec<u8> {
    postcard::to_allocvec(word).unwrap_or_default()
}

/// The body of a letter, encoded once for all backups.
pub fn encode_body(body: &Body) -> Bytes {
    postcard::to_allocvec(body).unwrap_or_default().into()
}

/// A [`Word::Letter`] with a body that is encoded already.
pub fn letter(number: u64, floor: u64, body: &[u8]) -> Vec<u8> {
    // The variant's index, then the fields in their order: postcard puts nothing between them.
    let mut octets = postcard::to_allocvec(&(0u32, number, floor)).unwrap_or_default();
    octets.extend_from_slice(body);
    octets
}

/// A datagram's plaintext on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parcel {
    pub to: Post,
    pub over: Over,
    pub plain: Vec<u8>,
}

/// Gathers words for the same worker and plane in one datagram.
#[derive(Default)]
pub struct Mail {
    open: Vec<Parcel>,
    full: Vec<Parcel>,
}

impl Mail {
    pub fn put(&mut self, to: Post, over: Over, word: &[u8]) {
        let fits = |parcel: &&mut Parcel| parcel.to == to && parcel.over == over;
        if let Some(parcel) = self.open.iter_mut().find(fits) {
            if parcel.plain.len() + word.len() <= FULL {
                return parcel.plain.extend_from_slice(word);
            }
            let full = Parcel { to, over, plain: sheet(to, word) };
            return self.full.push(std::mem::replace(parcel, full));
        }
        self.open.push(Parcel { to, over, plain: sheet(to, word) });
    }

    pub fn is_empty(&self) -> bool {
        self.open.is_empty() && self.full.is_empty()
    }

    /// All that was put, in its order for each worker and plane.
    pub fn take(&mut self) -> Vec<Parcel> {
        let mut all = std::mem::take(&mut self.full);
        all.append(&mut self.open);
        all
    }
}

fn sheet(to: Post, word: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(FULL);
    begin(to, &mut plain);
    plain.extend_from_slice(word);
    plain
}

/// The beginning of a datagram's plaintext; encoded words follow.
fn begin(to: Post, out: &mut Vec<u8>) {
    out.push(VERSION);
    out.extend_from_slice(&to.node.0.to_be_bytes());
    out.extend_from_slice(&to.worker.to_be_bytes());
    out.extend_from_slice(&to.boot.0.to_be_bytes());
}

/// The words of a datagram for us. One word that cannot be read spoils those behind it, so that all are refused.
pub fn decode(us: Post, plain: &[u8]) -> Result<Vec<Word>, WordError> {
    let (version, rest) = plain.split_first().ok_or(WordError::Malformed)?;
    if *version != VERSION {
        return Err(WordError::UnknownVersion(*version));
    }
    let mut head = Vec::with_capacity(13);
    begin(us, &mut head);
    let mut rest = match rest.strip_prefix(&head[1..]) {
        Some(rest) => rest,
        None if rest.len() >= head.len() - 1 => return Err(WordError::NotForUs),
        None => return Err(WordError::Malformed),
    };
    let mut words = Vec::new();
    while !rest.is_empty() {
        let (word, behind) = postcard::take_from_bytes(rest).map_err(|_| WordError::Malformed)?;
        words.push(word);
        rest = behind;
    }
    Ok(words)
}

#[cfg(test)]
#[path = "words_tests.rs"]
mod tests;
