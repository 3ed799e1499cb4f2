//! Rule 1: what would stop somebody from repeating himself leaves when a backup holds what it depends on, or 100 ms after
//! that was first told. Opens the letters and acks on the planes, and holds them against the messages that leave a node.

use crate::hosts::actor::message::Message;
use crate::network::Datagram;
use crate::site::Site;
use cc_node::record::What;
use cc_node::shadow::words::{self, Body, Post, Word};
use common::call_hash::CallHash;
use common::ids::{BootId, NodeId};
use common::time::{Duration, Time};
use common::wire::packet::{Kind, Opener, is_packet};
use std::collections::BTreeMap;

const PATIENCE: Duration = Duration::from_millis(100);

/// A record that was told to some backup.
struct Told {
    first: Time,
    cseq: u32,
    what: What,
    /// To whom, and whether the holder has heard that one's ack.
    to: BTreeMap<Post, bool>,
}

/// One that its writer has not heard the ack of.
#[derive(Clone, Copy)]
struct Letter {
    first: Time,
    /// None: it is about no record.
    about: Option<(CallHash, u64)>,
}

pub struct AckAfterShadow {
    opener: Opener,
    /// What each incarnation has told of a call, by its record numbers.
    told: BTreeMap<(NodeId, BootId, CallHash), BTreeMap<u64, Told>>,
    /// Letters: who wrote which number to whom, and of what record.
    letters: BTreeMap<(Post, Post, u64), Letter>,
    /// Answers that have come in: only the first of each waits for its record.
    answers: BTreeMap<(CallHash, u32, String), u32>,
}

impl Default for AckAfterShadow {
    fn default() -> Self {
        AckAfterShadow {
            opener: Opener::new(Kind::Shadow),
            told: BTreeMap::new(),
            letters: BTreeMap::new(),
            answers: BTreeMap::new(),
        }
    }
}

impl AckAfterShadow {
    fn open(&mut self, site: &Site, datagram: &Datagram) -> Option<(Post, Post, Vec<Word>)> {
        let opened = is_packet(&datagram.bytes).then(|| self.opener.open(&site.keys.plane, &datagram.bytes))?.ok()?;
        let plain = &opened.plain;
        let number = |at: usize| plain.get(at..at + 8)?.try_into().ok().map(u64::from_be_bytes);
        let small = |at: usize| plain.get(at..at + 2)?.try_into().ok().map(u16::from_be_bytes);
        let to = Post { node: NodeId(small(1)?), boot: BootId(number(5)?), worker: small(3)? };
        Some((opened.from, to, words::decode(to, plain).ok()?))
    }

    /// A datagram leaves a node's shadow port.
    pub fn told(&mut self, site: &Site, now: Time, datagram: &Datagram) {
        let Some((from, to, words)) = self.open(site, datagram) else { return };
        for word in words {
            let Word::Letter { number, floor, body } = word else { continue };
            // What is below is settled, or given up.
            while let Some((settled, _)) = self.letters.range((from, to, 0)..(from, to, floor)).next() {
                let settled = *settled;
                self.letters.remove(&settled);
            }
            let about = match &body {
                Body::Record { no, hash, .. } | Body::Whole { no, hash, .. } => Some((*hash, no.0)),
                _ => None,
            };
            self.letters.entry((from, to, number)).or_insert(Letter { first: now, about });
            let Some((hash, no)) = about else { continue };
            let records = self.told.entry((from.node, from.boot, hash)).or_default();
            if let Body::Record { key, what, .. } = body {
                let first = || Told { first: now, cseq: key.cseq, what, to: BTreeMap::new() };
                records.entry(no).or_insert_with(first).to.entry(to).or_insert(false);
            }
        }
    }

    /// A datagram reaches a node's shadow port: acks count from now on. Who has a record has those before it.
    pub fn heard(&mut self, site: &Site, datagram: &Datagram) {
        let Some((by, holder, words)) = self.open(site, datagram) else { return };
        for number in words.into_iter().filter_map(|word| match word {
            Word::Acks { numbers } => Some(numbers),
            _ => None,
        }) {
            let acked = |number: &u64| self.letters.remove(&(holder, by, *number))?.about;
            for (hash, upto) in number.iter().filter_map(acked) {
                let Some(records) = self.told.get_mut(&(holder.node, holder.boot, hash)) else { continue };
                for told in records.range_mut(..=upto).map(|(_, told)| told) {
                    told.to.insert(by, true);
                }
            }
        }
    }

    /// Whether a backup has left some letter without an ack for so long that nobody waits for it any more.
    fn is_slow(&self, now: Time, (node, boot): (NodeId, BootId), backup: Post) -> bool {
        let of = |worker, backup, number| (Post { node, boot, worker }, backup, number);
        let mut all = self.letters.range(of(0, backup, 0)..=of(0, backup, u64::MAX));
        all.any(|(_, letter)| now.since(letter.first) >= PATIENCE)
    }

    /// A node has received this message.
    pub fn comes(&mut self, hash: CallHash, message: &[u8]) {
        let answer = Message::parse(message).filter(|m| (200..300).contains(&m.status()) && m.method() == "INVITE");
        if let Some(answer) = answer {
            *self.answers.entry((hash, answer.cseq(), answer.to_tag())).or_default() += 1;
        }
    }

    /// A node hands this message over to leave the rack.
    pub fn leaves(
        &self,
        now: Time,
        (node, boot): (NodeId, BootId),
        hash: CallHash,
        message: &[u8],
        lives: impl Fn(NodeId, BootId) -> bool,
    ) -> Result<(), String> {
        let Some(records) = self.told.get(&(node, boot, hash)) else { return Ok(()) };
        let Some(message) = Message::parse(message) else { return Ok(()) };
        let answers = self.answers.get(&(hash, message.cseq(), message.to_tag()));
        if answers.is_some_and(|times| *times > 1) && message.method() == "INVITE" {
            return Ok(());
        }
        for told in records.values().filter(|told| now.since(told.first) < PATIENCE && told.gates(&message)) {
            let acked = told.to.values().any(|acked| *acked);
            let owing =
                told.to.keys().any(|post| lives(post.node, post.boot) && !self.is_slow(now, (node, boot), *post));
            if owing && !acked {
                let what = format!("{:?}", told.what);
                let what = what.split(['(', ' ', '{']).next().unwrap_or_default();
                return Err(format!("node {node} says {} at {now:?}, and no backup holds `{what}`", message.first));
            }
        }
        Ok(())
    }
}

impl Told {
    /// Whether this message depends on the record.
    fn gates(&self, message: &Message) -> bool {
        let (status, method, asks) = (message.status(), message.method(), message.is_request());
        let of_invite = message.cseq() == self.cseq && method == "INVITE";
        match &self.what {
            What::Accepted(_) => of_invite && status == 100,
            What::Started { branches } => {
                of_invite && asks && branches.iter().any(|branch| message.branch() == **branch)
            }
            What::BranchFailed { branch, status: failed, .. } => {
                asks && method == "ACK" && message.branch() == **branch && *failed != 408
            }
            What::Cancelled => status == 200 && method == "CANCEL" && message.cseq() == self.cseq,
            What::Answered(answer) => {
                of_invite && (200..300).contains(&status) && message.to_tag() == *answer.callee_tag
            }
            What::Refused { status: refused, .. } => of_invite && status == *refused,
            What::Ended { .. } => method == "BYE" && (200..300).contains(&status),
            _ => false,
        }
    }
}
