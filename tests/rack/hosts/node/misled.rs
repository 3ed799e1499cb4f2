//! Bugs planted in what a simulated node's worker tells others of its calls, hears of theirs, and does with them; without
//! one, everything passes as it is. A word that is to be missing is put in the place of one that says nothing under the same
//! number, so that nothing heals what is missing; an ack too soon is one that nobody has given.

use crate::plants::Plant;
use bytes::Bytes;
use cc_node::effect::{Effect, Input, Over};
use cc_node::image::Image;
use cc_node::record::{RecordNo, What};
use cc_node::shadow::shelf::Shelf;
use cc_node::shadow::words::{self, Body, Mail, Parcel, Post, Word};
use common::call_hash::CallHash;
use common::placement::Placement;
use common::sip::call_id;
use common::time::{Duration, Time};
use std::collections::BTreeSet;

/// When silence is taken for an answer.
const SILENT: Duration = Duration::from_millis(20);
const MAGIC: &str = ";branch=z9hG4bK";
/// Octets before the first word.
const HEAD: usize = 13;

pub struct Misled {
    us: Post,
    plant: Option<Plant>,
    /// Calls whose INVITE has come in here.
    begun: BTreeSet<Vec<u8>>,
    /// What will have been said, by whom, and when.
    later: Vec<(Time, Post, Vec<u8>)>,
}

impl Misled {
    pub fn new(us: Post, plant: Option<Plant>) -> Misled {
        Misled { us, plant, begun: BTreeSet::new(), later: Vec::new() }
    }

    fn is(&self, plant: Plant) -> bool {
        self.plant == Some(plant)
    }

    pub fn next_due(&self) -> Option<Time> {
        self.later.iter().map(|(at, ..)| *at).min()
    }

    pub fn due(&mut self, now: Time) -> Vec<(Post, Vec<u8>)> {
        let (due, later): (Vec<_>, Vec<_>) = self.later.drain(..).partition(|(at, ..)| *at <= now);
        self.later = later;
        due.into_iter().map(|(_, by, plain)| (by, plain)).collect()
    }

    /// A parcel leaves; what nobody has said to it comes back.
    pub fn tells(&mut self, now: Time, parcel: &mut Parcel) -> Vec<(Post, Vec<u8>)> {
        let (Some(plant), Ok(words)) = (self.plant, words::decode(parcel.to, &parcel.plain)) else { return Vec::new() };
        let (by, us) = (parcel.to, self.us);
        let mut forged = Vec::new();
        parcel.plain.truncate(HEAD);
        for mut word in words {
            if let Word::Letter { number, body, .. } = &mut word {
                if is_too_soon(plant, body) {
                    forged.push((by, sheet(us, &Word::Acks { numbers: vec![*number] })));
                }
                leave_out(plant, body);
            }
            if let Word::Which { question, .. } = word {
                let nothing = Word::These { question, part: 0, parts: 1, calls: Vec::new() };
                match plant {
                    Plant::ActsBeforeExchange => forged.push((by, sheet(us, &nothing))),
                    Plant::SilenceIsAnAnswer => self.later.push((now + SILENT, by, sheet(us, &nothing))),
                    _ => {}
                }
            }
            if plant != Plant::PoisonKept || !matches!(word, Word::Quarantine { .. }) {
                parcel.plain.extend(words::encode(&word));
            }
        }
        forged
    }

    /// Another worker's words have come.
    pub fn hears(&self, shelf: &Shelf, plain: &mut Vec<u8>) {
        if !self.is(Plant::GapApplied) && !self.is(Plant::AckedUnread) {
            return;
        }
        let Ok(words) = words::decode(self.us, plain) else { return };
        plain.truncate(HEAD);
        for mut word in words {
            if let Word::Letter { body, .. } = &mut word {
                match body {
                    Body::Record { previous, hash, .. } if self.is(Plant::GapApplied) => {
                        *previous = (*previous).min(shelf.get(*hash).map_or(RecordNo(0), |shelved| shelved.no));
                    }
                    Body::Record { .. } | Body::Whole { .. } if self.is(Plant::AckedUnread) => *body = Body::Probe,
                    _ => {}
                }
            }
            plain.extend(words::encode(&word));
        }
    }

    /// Another placement stands: calls that it takes up though they may be another's.
    pub fn takes(&self, shelf: &mut Shelf, placement: &Placement) -> Vec<(CallHash, Box<Image>)> {
        if !self.is(Plant::TwoGoOn) {
            return Vec::new();
        }
        let dead = shelf.incarnations().into_iter().filter(|(node, boot)| placement.live(*node) != Some(*boot));
        let hashes: Vec<CallHash> =
            dead.flat_map(|dead| shelf.held_by(dead).collect::<Vec<_>>()).map(|h| h.0).collect();
        hashes.into_iter().filter_map(|hash| Some((hash, Box::new(shelf.take(hash)?.image)))).collect()
    }

    /// Something comes in for the engine.
    pub fn comes(&mut self, input: Input) -> Input {
        match input {
            Input::Datagram { header, message } if self.plant.is_some() => {
                if message.starts_with(b"INVITE ") {
                    self.begun.insert(call_id(&message).unwrap_or_default().to_vec());
                }
                Input::Datagram { header, message: unmarked(&message).unwrap_or(message) }
            }
            input => input,
        }
    }

    /// Something leaves the worker.
    pub fn goes(&self, effect: Effect) -> Option<Effect> {
        match effect {
            Effect::Send { after, listener, to, transport, bytes } => {
                let bytes = self.sends(bytes)?;
                Some(Effect::Send { after, listener, to, transport, bytes })
            }
            Effect::Started { start, .. }
                if self.is(Plant::StartNotRepeated) && !self.begun.contains(start.callid.as_bytes()) =>
            {
                None
            }
            effect => Some(effect),
        }
    }

    fn sends(&self, bytes: Bytes) -> Option<Bytes> {
        let of_invite = [&b"INVITE "[..], b"CANCEL ", b"ACK "].iter().any(|method| bytes.starts_with(method));
        let inherited = || !self.begun.contains(call_id(&bytes).unwrap_or_default());
        match self.plant {
            Some(Plant::NoProbe) if bytes.starts_with(b"INVITE ") && inherited() => None,
            Some(Plant::NodeInBranch) if of_invite => Some(marked(&bytes, self.us)),
            Some(Plant::ProbeWithNewBranch) if of_invite && inherited() => Some(marked(&bytes, self.us)),
            _ => Some(bytes),
        }
    }
}

fn is_too_soon(plant: Plant, body: &Body) -> bool {
    let Body::Record { what, .. } = body else { return false };
    match plant {
        Plant::TryingTooSoon => matches!(what, What::Accepted(_) | What::Started { .. }),
        Plant::RefusalAckedTooSoon => matches!(what, What::BranchFailed { .. }),
        Plant::ByeAnsweredTooSoon => matches!(what, What::Ended { .. }),
        _ => false,
    }
}

/// Takes out of a letter what a bug does not say.
fn leave_out(plant: Plant, body: &mut Body) {
    let nothing = What::Early { branch: "".into(), callee_tag: "".into(), contact: None };
    match (plant, body) {
        (Plant::TargetsNotShadowed, Body::Record { what, .. }) => match what {
            What::Accepted(accepted) => accepted.targets.clear(),
            What::Targets { targets, .. } => targets.clear(),
            _ => {}
        },
        (Plant::AnswerNotShadowed, Body::Record { what, .. }) if matches!(what, What::Answered(_)) => *what = nothing,
        (Plant::HeirKeepsToItself, body @ Body::Whole { .. }) => *body = Body::Probe,
        (Plant::NeverReleases, body @ (Body::Release { .. } | Body::Check { .. })) => *body = Body::Probe,
        _ => {}
    }
}

fn sheet(to: Post, word: &Word) -> Vec<u8> {
    let mut mail = Mail::default();
    mail.put(to, Over::EveryPlane, &words::encode(word));
    mail.take().pop().map(|parcel| parcel.plain).unwrap_or_default()
}

/// With the node in the branch of the topmost Via.
fn marked(bytes: &Bytes, us: Post) -> Bytes {
    let text = String::from_utf8_lossy(bytes);
    text.replacen(MAGIC, &format!("{MAGIC}node{}-", us.node), 1).into()
}

/// A response without what `marked` has written, whoever has.
fn unmarked(bytes: &Bytes) -> Option<Bytes> {
    let text = std::str::from_utf8(bytes).ok().filter(|text| text.starts_with("SIP/2.0 "))?;
    let at = text.find(MAGIC)? + MAGIC.len();
    let (head, tail) = (&text[..at], text[at..].strip_prefix("node")?);
    let (_, tail) = tail.split_once('-')?;
    Some(format!("{head}{tail}").into())
}
