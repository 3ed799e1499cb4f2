//! Calls: from the INVITE that was admitted to the end, with what the journal and the CDR need. `proxy` reports what
//! happens; nothing here sends a message.
//!
//! [`Journal`] numbers the records; [`Call`] is one call; [`Calls`] keeps them, finds them by dialog, and sees that every
//! answered call leaves exactly one start record and one CDR; `heirs`: what a change of holder means for them.

mod heirs;
mod journal;
mod one;

pub use crate::record::Side;
pub use journal::Journal;
pub use one::Call;

pub use crate::record::Answer;

use crate::cdr::EndedBy;
use crate::counted::CallNo;
use crate::effect::{Effect, RecordNo};
use crate::record::{MAX_DIALOGS, What};
use crate::station::Station;
use crate::stats::Stats;
use crate::turn::Turn;
use ahash::RandomState;
use bytes::Bytes;
use common::deadlines::{Deadlines, Handle};
use common::fields::Fields;
use common::flow::Peer;
use common::sip::SipMessage;
use common::time::{Duration, Time};
use hashbrown::HashMap;
use slab::Slab;
use smallvec::SmallVec;
use std::net::SocketAddr;

/// After it the record is written as if both had hung up.
pub const MAX_DURATION: Duration = common::token::LONGEST_CALL;
/// How long behind its session interval a call may still be refreshed or ended: a last BYE is repeated for so long.
const SESSION_GRACE: Duration = Duration::from_secs(32);

/// The caller is asked to try again with something that he has left out: that is no missed call yet.
pub fn asks_for_more(status: u16) -> bool {
    matches!(status, 401 | 407 | 422)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallRef {
    index: usize,
    serial: u64,
}

/// Hash of Call-ID, caller's tag and callee's tag.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct DialogKey(u128);

impl DialogKey {
    fn new(call_id: &[u8], caller_tag: &str, callee_tag: &str) -> DialogKey {
        let mut fields = Fields::new(0);
        [call_id, caller_tag.as_bytes(), callee_tag.as_bytes()].iter().for_each(|field| fields.field(field));
        DialogKey(fields.hash128(&[0; 16]))
    }
}

struct Kept {
    serial: u64,
    call: Call,
    /// Each with the callee's side as its token says.
    dialogs: Vec<(DialogKey, Peer)>,
    longest: Option<Handle>,
    /// Its name where calls are counted, if it is counted anywhere.
    counted: Option<CallNo>,
}

/// What ends a call, or one dialog of it, if nobody does.
struct Limit {
    call: CallRef,
    /// By callee tag; none = all of them.
    dialog: Option<Box<str>>,
    by: EndedBy,
}

pub struct Calls {
    kept: Slab<Kept>,
    /// More than one where a call comes back to us through a trunk: then the two sides tell which.
    by_dialog: HashMap<DialogKey, SmallVec<[CallRef; 1]>, RandomState>,
    /// When answered calls have lasted too long, or were not refreshed.
    limits: Deadlines<Limit>,
    serial: u64,
    established: u64,
    /// Counted calls that are over, until [`Calls::take_over`].
    over: Vec<CallNo>,
}

impl Default for Calls {
    fn default() -> Self {
        Calls::new()
    }
}

impl Calls {
    pub fn new() -> Calls {
        let by_dialog = HashMap::with_hasher(RandomState::with_seeds(5, 6, 7, 8));
        Calls { kept: Slab::new(), by_dialog, limits: Deadlines::new(), serial: 0, established: 0, over: Vec::new() }
    }

    pub fn len(&self) -> usize {
        self.kept.len()
    }

    pub fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    /// Answered and not over.
    pub fn established(&self) -> u64 {
        self.established
    }

    pub fn next_due(&self) -> Option<Time> {
        self.limits.next_due()
    }

    /// Every call, in no order: for the operator.
    pub fn iter(&self) -> impl Iterator<Item = &Call> {
        self.kept.iter().map(|(_, kept)| &kept.call)
    }

    pub fn open(&mut self, call: Call) -> CallRef {
        self.serial += 1;
        let index =
            self.kept.insert(Kept { serial: self.serial, call, dialogs: Vec::new(), longest: None, counted: None });
        CallRef { index, serial: self.serial }
    }

    pub fn get(&self, call: CallRef) -> Option<&Call> {
        self.kept.get(call.index).filter(|kept| kept.serial == call.serial).map(|kept| &kept.call)
    }

    /// It is counted from now on until it is over: by what name.
    pub fn count(&mut self, call: CallRef, key: &[u8; 16]) -> Option<CallNo> {
        let kept = self.kept(call)?;
        Some(*kept.counted.get_or_insert_with(|| CallNo::of(key, &kept.call.key)))
    }

    /// Counted calls that are over since the last call.
    pub fn take_over(&mut self) -> std::vec::Drain<'_, CallNo> {
        self.over.drain(..)
    }

    /// It is not begun after all, and nobody has been asked for.
    pub fn turned_away(&mut self, call: CallRef) {
        self.remove(call);
    }

    fn kept(&mut self, call: CallRef) -> Option<&mut Kept> {
        self.kept.get_mut(call.index).filter(|kept| kept.serial == call.serial)
    }

    /// The call of a dialog, early or confirmed, between these two sides.
    pub fn of_dialog(
        &self,
        call_id: &[u8],
        caller_tag: &str,
        callee_tag: &str,
        sides: (Peer, Peer),
    ) -> Option<CallRef> {
        let key = DialogKey::new(call_id, caller_tag, callee_tag);
        let between = |call: &&CallRef| {
            self.kept
                .get(call.index)
                .is_some_and(|kept| kept.call.opened.peer == sides.0 && kept.dialogs.contains(&(key, sides.1)))
        };
        self.by_dialog.get(&key)?.iter().find(between).copied()
    }

    /// Whether a message belongs to a dialog that is known here, whichever side it comes from.
    pub fn has_dialog(&self, message: &SipMessage) -> bool {
        let (Some(from), Some(to)) = (message.from_tag(), message.to_tag()) else { return false };
        let knows = |caller, callee| self.by_dialog.contains_key(&DialogKey::new(message.call_id(), caller, callee));
        knows(from, to) || knows(to, from)
    }

    /// The call of a request without a token, and which side sent it: by its tags, and from where that side is. Peers that
    /// do not echo Record-Route end their calls so.
    pub fn without_token(&self, request: &SipMessage, source: SocketAddr) -> Option<(CallRef, Side)> {
        let (from, to) = (request.from_tag()?, request.to_tag()?);
        let is_at = |peer: &Peer| match peer {
            Peer::Flow(flow) | Peer::Direct(flow) => flow.remote == source,
            Peer::Trunk(_) => false,
        };
        let of = |caller_tag, callee_tag, side| {
            let key = DialogKey::new(request.call_id(), caller_tag, callee_tag);
            let calls = self.by_dialog.get(&key)?;
            let sent = |call: &&CallRef| {
                let Some(kept) = self.kept.get(call.index) else { return false };
                let callee = || kept.dialogs.iter().any(|(other, peer)| *other == key && is_at(peer));
                kept.call.has_seen(side, source)
                    || if side == Side::Caller { is_at(&kept.call.opened.peer) } else { callee() }
            };
            calls.iter().find(sent).map(|call| (*call, side))
        };
        of(from, to, Side::Caller).or_else(|| of(to, from, Side::Callee))
    }

    /// A response with this To tag came for the INVITE from this side: a dialog, early or confirmed.
    /// Whether that is news.
    pub fn dialog(&mut self, call: CallRef, callee_tag: &str, callee: Peer) -> bool {
        let Some(kept) = self.kept(call) else { return false };
        let key = DialogKey::new(&kept.call.key.call_id, &kept.call.key.from_tag, callee_tag);
        if kept.dialogs.len() == MAX_DIALOGS || kept.dialogs.contains(&(key, callee)) {
            return false;
        }
        kept.dialogs.push((key, callee));
        let calls = self.by_dialog.entry(key).or_default();
        if !calls.contains(&call) {
            calls.push(call);
        }
        true
    }

    /// A 2xx has settled the interval of an answered dialog's session, or that it has none (RFC 4028 §8.2).
    pub fn session(
        &mut self,
        turn: &mut Turn<'_>,
        journal: &mut Journal,
        call: CallRef,
        callee_tag: &str,
        expires_s: Option<u32>,
    ) {
        let until = expires_s.map(|expires_s| turn.now + Duration::from_secs(u64::from(expires_s)));
        if let Some(kept) = self.kept(call)
            && let Some(session) = kept.call.session(callee_tag)
            && (session.is_some() || until.is_some())
        {
            let key = kept.call.key.clone();
            journal.write(turn, &key, What::Session { callee_tag: callee_tag.into(), expires_s });
            self.session_until(call, callee_tag, until);
        }
    }

    /// `until`: when its interval ends.
    fn session_until(&mut self, call: CallRef, callee_tag: &str, until: Option<Time>) {
        let Some(kept) = self.kept.get_mut(call.index).filter(|kept| kept.serial == call.serial) else { return };
        let Some(session) = kept.call.session(callee_tag) else { return };
        if let Some(handle) = session.take() {
            self.limits.cancel(handle);
        }
        let limit = |until| {
            let dialog = Some(callee_tag.into());
            self.limits.insert(until + SESSION_GRACE, Limit { call, dialog, by: EndedBy::SessionExpired })
        };
        *session = until.map(limit);
    }

    /// This side has named this address in a Contact. Whether that is news.
    pub fn saw_contact(&mut self, call: CallRef, side: Side, address: SocketAddr) -> bool {
        self.kept(call).is_some_and(|kept| kept.call.saw_contact(side, address))
    }

    /// The same, in a request or response within the dialog.
    pub fn moved(
        &mut self,
        turn: &mut Turn<'_>,
        journal: &mut Journal,
        call: CallRef,
        side: Side,
        address: SocketAddr,
    ) {
        if self.saw_contact(call, side, address)
            && let Some(key) = self.get(call).map(|call| call.key.clone())
        {
            journal.write(turn, &key, What::Contact { side, address });
        }
    }

    /// A 101-199 came.
    pub fn ringing(&mut self, turn: &mut Turn<'_>, call: CallRef) {
        let now = turn.now;
        if let Some(after) = self.kept(call).and_then(|kept| kept.call.ringing(now)) {
            turn.stats.to_ringing.observe(after);
        }
    }

    /// A 2xx is about to go upstream. `None`: this dialog was answered before. With the first the call has begun: its
    /// record, then its start record.
    pub fn answered(
        &mut self,
        turn: &mut Turn<'_>,
        station: &Station,
        journal: &mut Journal,
        call: CallRef,
        answer: Answer,
    ) -> Option<RecordNo> {
        let now = turn.now;
        let kept = self.kept(call)?;
        let after = kept.call.answered(now, answer)?;
        let (key, answer) = (kept.call.key.clone(), Box::new(kept.call.newest_answer()?.clone()));
        let first = kept.longest.is_none();
        if first {
            turn.stats.to_answer.observe(after);
            turn.stats.calls_answered += 1;
            self.establish(call, now);
        }
        let no = journal.write(turn, &key, What::Answered(answer));
        if first {
            self.started(turn, station, call, no);
        }
        Some(no)
    }

    /// Its start record, behind the record that tells of its answer, or that it goes on here.
    fn started(&self, turn: &mut Turn<'_>, station: &Station, call: CallRef, after: RecordNo) {
        if let Some(start) = self.get(call).and_then(|call| call.started(station)) {
            turn.out.push(Effect::Started { after, start: Box::new(start) });
        }
    }

    /// `at`: when it was answered.
    fn establish(&mut self, call: CallRef, at: Time) {
        self.established += 1;
        let longest = self.limits.insert(at + MAX_DURATION, Limit { call, dialog: None, by: EndedBy::MaxDuration });
        if let Some(kept) = self.kept(call) {
            kept.longest = Some(longest);
        }
    }

    /// It was not answered: forgotten, without CDR. It is a missed one, by what the caller hears, unless he is asked to try
    /// again with something that he has left out.
    pub fn failed(&mut self, turn: &mut Turn<'_>, station: &Station, call: CallRef, heard: (u16, &Bytes), by: EndedBy) {
        let Some(call) = self.remove(call) else { return };
        turn.stats.calls_failed += 1;
        if !asks_for_more(heard.0) {
            turn.out.push(Effect::Missed(Box::new(call.into_missed(turn.now, station, heard, by))));
        }
    }

    /// A dialog of it ends (`None`: all of them). With the last the call has ended: its record, then its CDR, which tells of
    /// the dialog that lasted. `None`: it is over already, or another dialog goes on.
    pub fn ended(
        &mut self,
        turn: &mut Turn<'_>,
        station: &Station,
        journal: &mut Journal,
        call: CallRef,
        callee_tag: Option<&str>,
        by: EndedBy,
    ) -> Option<RecordNo> {
        if let Some(tag) = callee_tag {
            self.session_until(call, tag, None);
            if !self.kept(call)?.call.ended(tag)? {
                let key = self.get(call)?.key.clone();
                return Some(journal.write(turn, &key, What::DialogEnded { callee_tag: tag.into() }));
            }
        }
        self.get(call).filter(|call| call.is_answered())?;
        let call = self.remove(call)?;
        self.established -= 1;
        let key = call.key.clone();
        let cdr = Box::new(call.into_cdr(turn.now, station, by)?);
        let no = journal.write(turn, &key, What::Ended { cdr: cdr.clone() });
        turn.stats.cdrs += 1;
        turn.out.push(Effect::Cdr { call: key, cdr });
        Some(no)
    }

    /// Handling this Call-ID panicked: its calls are gone, without CDR (the log says so).
    pub fn forget(&mut self, stats: &mut Stats, call_id: &[u8]) {
        let named = |kept: &Kept| *kept.call.key.call_id == *call_id;
        let found: Vec<(usize, u64)> = self.kept.iter().filter(|(_, k)| named(k)).map(|(i, k)| (i, k.serial)).collect();
        for (index, serial) in found {
            if self.remove(CallRef { index, serial }).is_some_and(|call| call.is_answered()) {
                self.established -= 1;
            }
            stats.calls_failed += 1;
        }
    }

    /// Ends calls that have lasted too long, or that nobody has refreshed in time.
    pub fn expire(&mut self, turn: &mut Turn<'_>, station: &Station, journal: &mut Journal) {
        while let Some(Limit { call, dialog, by }) = self.limits.expire(turn.now) {
            self.ended(turn, station, journal, call, dialog.as_deref(), by);
        }
    }

    fn remove(&mut self, call: CallRef) -> Option<Call> {
        self.kept(call)?;
        let kept = self.kept.remove(call.index);
        for (key, _) in kept.dialogs {
            if let Some(calls) = self.by_dialog.get_mut(&key) {
                calls.retain(|other| *other != call);
                if calls.is_empty() {
                    self.by_dialog.remove(&key);
                }
            }
        }
        for handle in kept.call.sessions().chain(kept.longest) {
            self.limits.cancel(handle);
        }
        self.over.extend(kept.counted);
        Some(kept.call)
    }
}
