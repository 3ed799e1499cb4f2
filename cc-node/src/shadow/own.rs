//! This worker's own calls as their records tell them, each with the backups that are to hold the same. The shipper
//! owns them; its links ask what there is to tell.

use super::words::{Body, Post};
use crate::image::Image;
use crate::record::{CallKey, RecordNo, What};
use common::call_hash::CallHash;
use common::time::Time;
use smallvec::SmallVec;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A call has at most two.
pub type Backups = SmallVec<[Post; 2]>;

/// Calls that one check lists, and calls that are looked at for it.
const LISTED: usize = 50;
const LOOKED_AT: usize = 1_024;

pub struct Own {
    pub image: Image,
    /// The newest record of its Call-ID.
    pub newest: RecordNo,
    pub backups: Backups,
    /// As of which change of the placement these are its backups.
    pub change: u64,
}

#[derive(Default)]
pub struct OwnCalls {
    calls: BTreeMap<CallHash, Own>,
    /// The newest record of all.
    newest: RecordNo,
}

impl OwnCalls {
    pub fn get(&self, hash: CallHash) -> Option<&Own> {
        self.calls.get(&hash)
    }

    pub fn count(&self) -> usize {
        self.calls.len()
    }

    /// Whether this node is to hold whatever there is of the call.
    pub fn is_backup(&self, node: Post, hash: CallHash) -> bool {
        self.calls.get(&hash).is_none_or(|own| own.backups.contains(&node))
    }

    pub fn remove(&mut self, hash: CallHash) -> Option<Own> {
        self.calls.remove(&hash)
    }

    pub fn forget(&mut self) {
        self.calls.clear();
    }

    /// In the order of their hashes.
    #[cfg(test)]
    pub fn iter(&self) -> impl Iterator<Item = (CallHash, &Own)> {
        self.calls.iter().map(|(hash, own)| (*hash, own))
    }

    /// The next ones, from this hash on.
    pub fn hashes(&self, from: CallHash, most: usize) -> Vec<CallHash> {
        self.calls.range(from..).map(|(hash, _)| *hash).take(most).collect()
    }

    /// Makes room for a call if there is nothing of it. Its newest record so far; 0: there was nothing.
    pub fn open(&mut self, hash: CallHash, backups: &Backups, change: u64) -> RecordNo {
        let fresh = || Own { image: Image::default(), newest: RecordNo(0), backups: backups.clone(), change };
        self.calls.entry(hash).or_insert_with(fresh).newest
    }

    /// What a record says. False: nothing is left of the call, and it is forgotten.
    pub fn apply(&mut self, now: Time, no: RecordNo, hash: CallHash, key: &Arc<CallKey>, what: What) -> bool {
        self.newest = self.newest.max(no);
        let Some(own) = self.calls.get_mut(&hash) else { return false };
        own.newest = no;
        own.image.apply(now, key, what);
        let left = !own.image.is_empty();
        if !left {
            self.calls.remove(&hash);
        }
        left
    }

    /// A call that begins here in its middle.
    pub fn put(&mut self, hash: CallHash, own: Own) {
        self.newest = self.newest.max(own.newest);
        if own.image.is_empty() {
            self.calls.remove(&hash);
        } else {
            self.calls.insert(hash, own);
        }
    }

    /// These are its backups now.
    pub fn assign(&mut self, hash: CallHash, backups: Backups, change: u64) {
        if let Some(own) = self.calls.get_mut(&hash) {
            own.backups = backups;
            own.change = change;
        }
    }

    /// What this node must hear of a call that it is not in step with: all there is, or that it is no backup of it.
    ///
    /// All there is of a call that is gone is an empty image, as of the newest record of all: none of its own was
    /// newer. From a Release a backup could not tell that the call is over, and the copy of another, or its own copy of
    /// a call that a dead holder had begun, would bring it back some day.
    pub fn account(&self, now: Time, to: Post, hash: CallHash) -> Body {
        let (no, image) = match self.calls.get(&hash) {
            Some(own) if own.backups.contains(&to) => (own.newest, own.image.clone()),
            Some(own) => return Body::Release { no: own.newest, hash },
            None => (self.newest, Image::default()),
        };
        Body::Whole { no, hash, clock: now, image: Box::new(image) }
    }

    /// What this backup should hold of the next calls from `from` on; and where the next check begins. Each range
    /// begins where the last one ended, up to the last hash there can be: what should not be there is found anywhere.
    pub fn check(&self, of: Post, from: CallHash) -> (Body, CallHash) {
        let mut calls = Vec::new();
        let mut last = CallHash(u64::MAX);
        for (looked_at, (hash, own)) in self.calls.range(from..).enumerate() {
            if own.backups.contains(&of) {
                calls.push((*hash, own.newest));
            }
            if calls.len() == LISTED || looked_at + 1 == LOOKED_AT {
                last = *hash;
                break;
            }
        }
        (Body::Check { first: from, last, calls }, CallHash(last.0.wrapping_add(1)))
    }
}
