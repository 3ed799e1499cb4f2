//! One call: what was decided for it, who it is between, and the three moments that its CDR tells.

use crate::cdr::{Cdr, EndedBy, Method, Start, timestamp};
pub use crate::record::Answer;
use crate::record::{CONTACTS, CallKey, Decision, Opened, Side};
use crate::station::Station;
use bytes::Bytes;
use common::deadlines::Handle;
use common::fields::Fields;
use common::flow::Peer;
use common::ids::TrunkId;
use common::sip::{Limits, SipMessage};
use common::time::{Duration, Time, WallMillis};
use smallvec::SmallVec;
use std::net::SocketAddr;
use std::sync::Arc;

/// Dialogs of one call that are remembered as answered, ended ones too; two phones that answer at once make two.
const ANSWERS: usize = 8;

/// A dialog of the call that was answered.
struct Answered {
    at: Time,
    answer: Answer,
    /// When this dialog's session must have been refreshed.
    session: Option<Handle>,
}

/// What its record says of how it began, or that it did not.
struct Told {
    to_tag: String,
    status: u16,
    reason: String,
    /// From the INVITE to the answer, or to the end without one.
    setup: Duration,
    start: Option<WallMillis>,
    trunk_out: Option<TrunkId>,
}

pub struct Call {
    pub key: Arc<CallKey>,
    /// How its targets came about, in order.
    pub decisions: Vec<Decision>,
    pub opened: Opened,
    created: (Time, WallMillis),
    rang: bool,
    /// The dialogs that were answered and have not ended.
    answers: SmallVec<[Answered; 1]>,
    /// To tags of those that have ended while another went on. A callee that has not got its ACK repeats its 2xx even
    /// after the BYE (RFC 3261 §13.3.1.4): that begins nothing.
    ended: Vec<Box<str>>,
    contacts: [SmallVec<[SocketAddr; CONTACTS]>; 2],
}

impl Call {
    pub fn new(key: Arc<CallKey>, now: Time, wall: WallMillis, opened: Opened) -> Call {
        let contacts = [opened.contact.into_iter().collect(), SmallVec::new()];
        Call {
            key,
            decisions: Vec::new(),
            opened,
            created: (now, wall),
            rang: false,
            answers: SmallVec::new(),
            ended: Vec::new(),
            contacts,
        }
    }

    /// When its INVITE came.
    pub fn came(&self) -> WallMillis {
        self.created.1
    }

    pub fn is_answered(&self) -> bool {
        !self.answers.is_empty()
    }

    /// Whether a 2xx with this To tag has gone upstream and that dialog has not ended.
    pub fn is_answered_by(&self, callee_tag: &str) -> bool {
        self.answers.iter().any(|a| &*a.answer.callee_tag == callee_tag)
    }

    /// The session timer of an answered dialog.
    pub(super) fn session(&mut self, callee_tag: &str) -> Option<&mut Option<Handle>> {
        self.answers.iter_mut().find(|a| &*a.answer.callee_tag == callee_tag).map(|a| &mut a.session)
    }

    pub(super) fn sessions(&self) -> impl Iterator<Item = Handle> {
        self.answers.iter().filter_map(|a| a.session)
    }

    /// The first answer that is left.
    pub fn answer(&self) -> Option<&Answer> {
        self.answers.first().map(|a| &a.answer)
    }

    pub fn has_seen(&self, side: Side, address: SocketAddr) -> bool {
        self.contacts[side as usize].contains(&address)
    }

    /// Whether that is news.
    pub(super) fn saw_contact(&mut self, side: Side, address: SocketAddr) -> bool {
        let contacts = &mut self.contacts[side as usize];
        if contacts.contains(&address) {
            return false;
        }
        if contacts.len() == CONTACTS {
            contacts.remove(0);
        }
        contacts.push(address);
        true
    }

    pub(super) fn ringing(&mut self, now: Time) -> Option<Duration> {
        let first = !std::mem::replace(&mut self.rang, true);
        first.then(|| now.since(self.created.0))
    }

    /// The time from the INVITE, for the first answer of a dialog; `None`: it is known, or over.
    pub(super) fn answered(&mut self, now: Time, answer: Answer) -> Option<Duration> {
        let known = self.is_answered_by(&answer.callee_tag) || self.ended.contains(&answer.callee_tag);
        if known || self.answers.len() + self.ended.len() == ANSWERS {
            return None;
        }
        self.answers.push(Answered { at: now, answer, session: None });
        Some(now.since(self.created.0))
    }

    /// These had ended when it was inherited.
    pub(super) fn has_ended(&mut self, tags: Vec<Box<str>>) {
        self.ended = tags;
    }

    /// One of its dialogs ends; whether that was the last. `None`: no answered dialog of this call.
    pub(super) fn ended(&mut self, callee_tag: &str) -> Option<bool> {
        let at = self.answers.iter().position(|a| &*a.answer.callee_tag == callee_tag)?;
        if self.answers.len() > 1 {
            self.ended.push(self.answers.remove(at).answer.callee_tag);
            return Some(false);
        }
        Some(true)
    }

    /// The newest answer.
    pub(super) fn newest_answer(&self) -> Option<&Answer> {
        self.answers.last().map(|answered| &answered.answer)
    }

    /// Nobody has answered; the caller hears this.
    pub(super) fn into_missed(self, now: Time, station: &Station, heard: (u16, &Bytes), by: EndedBy) -> Cdr {
        let (status, response) = heard;
        let response = SipMessage::parse(response.clone(), &Limits::NONE).ok();
        let (to_tag, reason) = response.as_ref().map(|r| (r.to_tag(), r.reason())).unwrap_or_default();
        let tried = now.since(self.created.0);
        let told = Told {
            to_tag: to_tag.unwrap_or_default().to_owned(),
            status,
            reason: String::from_utf8_lossy(reason).into_owned(),
            setup: tried,
            start: None,
            trunk_out: None,
        };
        let end = WallMillis(self.created.1.0 + tried.as_millis() as u64);
        self.start(station, told).ended(timestamp(end), 0, by)
    }

    /// Nobody was asked. No shadow knows when it came, so that its id does not tell: a repeat that another node refuses is
    /// the same call.
    pub fn refused(self, station: &Station, heard: (u16, &Bytes)) -> Cdr {
        let (id, now) = (self.id(&station.keys.branch, WallMillis(0)), self.created.0);
        Cdr { id, ..self.into_missed(now, station, heard, EndedBy::Refused) }
    }

    /// `None`: it is not answered.
    pub(super) fn started(&self, station: &Station) -> Option<Start> {
        let Answered { at, answer, .. } = self.answers.first()?;
        let told = Told {
            to_tag: answer.callee_tag.to_string(),
            status: answer.status,
            reason: answer.reason.clone(),
            setup: at.since(self.created.0),
            start: Some(answer.at),
            trunk_out: match answer.peer {
                Peer::Trunk(id) => Some(id),
                _ => None,
            },
        };
        Some(self.start(station, told))
    }

    /// `None`: it was not answered. Lengths are by the monotonic clock: a jump of the wall clock changes no charge.
    pub(super) fn into_cdr(self, now: Time, station: &Station, by: EndedBy) -> Option<Cdr> {
        let start = self.started(station)?;
        let Answered { at, answer, .. } = self.answers.first()?;
        let lasted = now.since(*at).as_millis() as u64;
        Some(start.ended(timestamp(WallMillis(answer.at.0 + lasted)), lasted, by))
    }

    fn start(&self, station: &Station, told: Told) -> Start {
        let trunk = |id: Option<TrunkId>| Some(station.rack.trunk(id?)?.name.clone());
        Start {
            id: self.id(&station.keys.branch, self.created.1),
            method: Method::Invite,
            from_tag: self.key.from_tag.to_string(),
            to_tag: told.to_tag,
            callid: String::from_utf8_lossy(&self.key.call_id).into_owned(),
            sip_code: told.status,
            sip_reason: told.reason,
            created: timestamp(self.created.1),
            setup_time: told.setup.as_millis() as f64 / 1000.0,
            start_time: told.start.map(timestamp).unwrap_or_default(),
            caller: self.opened.caller.clone(),
            callee: self.opened.callee.clone(),
            trunk_in: trunk(self.opened.trunk_in),
            trunk_out: trunk(told.trunk_out),
            node: station.id,
            site: station.rack.name.clone(),
        }
    }

    /// The same on every node of the rack.
    fn id(&self, key: &[u8; 16], created: WallMillis) -> String {
        // The kinds of hash under the branch key are numbered in `common::branch` and `transaction::key`.
        let mut fields = Fields::new(3);
        for field in [&*self.key.call_id, self.key.from_tag.as_bytes(), self.key.upstream_branch.as_bytes()] {
            fields.field(field);
        }
        fields.raw(&self.key.cseq.to_be_bytes());
        // From the INVITE's record, so a node that takes over has the same.
        fields.raw(&created.0.to_be_bytes());
        format!("{:032x}", fields.hash128(key))
    }
}
