//! What must hold of everything that an engine does, whatever it is told.

use super::super::scan::WIDE;
use cc_node::effect::{Effect, RecordNo};
use cc_node::stats::Stats;
use common::config::Rack;
use common::sip::{Method, SipMessage};
use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

/// RFC 5393's Max-Breadth.
const BREADTH: usize = 60;
/// Beside the branches: a 100, an answer upstream, an ACK, CANCELs of a context's other branches.
const BESIDE: usize = 8;

pub struct Watch {
    transactions: u64,
    calls: usize,
    records: BTreeSet<RecordNo>,
    /// Where requests came from.
    asked: BTreeSet<IpAddr>,
    cdrs: BTreeSet<String>,
    starts: BTreeSet<String>,
    /// What was sent since the datagram from outside or the timer that began it.
    sends: usize,
    /// Of the response that is being heard, if it is one.
    response: Option<Vec<u8>>,
    /// Everything that was heard and said, for a failure's message.
    story: Vec<String>,
    /// Messages that left since [`Watch::take_said`].
    said: Vec<(SocketAddr, Vec<u8>)>,
}

impl Watch {
    pub fn new(rack: &Rack) -> Watch {
        Watch {
            // An in-dialog request still finds room at the limit; each makes two, and a CANCEL one more.
            transactions: 2 * u64::from(rack.limits.transactions) + 3 * BREADTH as u64,
            calls: rack.limits.calls as usize,
            records: BTreeSet::new(),
            asked: BTreeSet::new(),
            cdrs: BTreeSet::new(),
            starts: BTreeSet::new(),
            sends: 0,
            response: None,
            story: Vec::new(),
            said: Vec::new(),
        }
    }

    pub fn begins(&mut self) {
        self.sends = 0;
        self.response = None;
    }

    pub fn hears(&mut self, from: SocketAddr, octets: &[u8]) {
        self.tell(format!("← {from}\n{}", String::from_utf8_lossy(octets)));
        let Ok(message) = SipMessage::parse(octets.to_vec().into(), &WIDE) else {
            // A request that cannot be read is answered, if enough of it remains.
            if SipMessage::remains(octets.to_vec().into()).is_some() {
                self.asked.insert(from.ip());
            }
            return;
        };
        self.response = (!message.is_request()).then(|| octets.to_vec());
        if message.is_request() {
            self.asked.insert(from.ip());
        }
    }

    pub fn sees(&mut self, effect: &Effect) {
        match effect {
            Effect::Journal(record) => {
                let new = self.records.insert(record.no);
                self.check(new, "a record number was given twice");
            }
            Effect::Cdr { cdr, .. } => {
                self.tell(format!("CDR {} {}", cdr.id, cdr.callid));
                let new = self.cdrs.insert(cdr.id.clone());
                self.check(new, "a second CDR of one id");
            }
            Effect::Send { after, to, bytes, .. } => {
                self.tell(format!("→ {to}\n{}", String::from_utf8_lossy(bytes)));
                let known = after.is_none_or(|no| self.records.contains(&no));
                self.check(known, "a message names a record that is not out yet");
                self.leaves(*to, bytes);
            }
            Effect::Inside { .. } | Effect::Inherited { .. } => {
                self.fails("something of another node where there is none")
            }
            Effect::Started { after, start } => {
                self.tell(format!("start {} {}", start.id, start.callid));
                let known = self.records.contains(after);
                self.check(known, "a start names a record that is not out yet");
                let new = self.starts.insert(start.id.clone());
                self.check(new, "a second start of one id");
            }
            Effect::Missed(cdr) => self.tell(format!("missed {} {}", cdr.id, cdr.callid)),
            Effect::Location { .. } | Effect::Dns { .. } | Effect::Forgotten => {}
            Effect::Admit { .. } | Effect::Counts { .. } | Effect::CallOver { .. } => {}
        }
    }

    fn leaves(&mut self, to: SocketAddr, bytes: &[u8]) {
        self.sends += 1;
        self.check(self.sends <= 2 * BREADTH + BESIDE, "more messages of one than two times the breadth");
        let message = match SipMessage::parse(bytes.to_vec().into(), &WIDE) {
            Ok(message) => message,
            Err(e) => self.fails(&format!("what it says cannot be read: {e}")),
        };
        if message.is_request() {
            if let Err(e) = message.validate() {
                self.fails(&format!("its request is not valid: {e}"));
            }
        } else {
            self.response_leaves(to, &message);
        }
        if self.said.len() < 64 {
            self.said.push((to, bytes.to_vec()));
        }
    }

    fn response_leaves(&mut self, to: SocketAddr, message: &SipMessage) {
        let forwarded = self.response.as_ref().is_some_and(|r| r.starts_with(b"SIP/2.0 481"));
        let cancels = message.method() == Method::Cancel;
        self.check(message.status() != 481 || cancels || forwarded, "481, and not to a CANCEL");
        // A callee may have changed any field of its response, so the address alone is sure: somebody there has asked.
        let heard = self.asked.contains(&to.ip());
        // By the token of our Via alone, as for a request that another node forwarded: one for one, and not longer.
        let by_token = self.response.as_ref().is_some_and(|r| r.len() > message.bytes().len());
        self.check(heard || by_token, "a response to whom asked nothing");
    }

    pub fn after(&mut self, stats: &Stats, calls: usize) {
        let t = stats.transactions;
        let all = t.server + t.client + t.invite_server + t.invite_client;
        self.check(all <= self.transactions, "more transactions than the limits allow");
        self.check(calls <= self.calls, "more calls than the limit");
    }

    pub fn take_said(&mut self) -> Vec<(SocketAddr, Vec<u8>)> {
        std::mem::take(&mut self.said)
    }

    fn tell(&mut self, line: String) {
        if self.story.len() == 40 {
            self.story.remove(0);
        }
        self.story.push(line);
    }

    #[track_caller]
    pub fn check(&self, holds: bool, what: &str) {
        if !holds {
            self.fails(what);
        }
    }

    #[track_caller]
    pub fn fails(&self, what: &str) -> ! {
        panic!("{what}. The end of the story:\n{}", self.story.join("\n----\n"));
    }
}
