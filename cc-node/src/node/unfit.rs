//! Messages that are not fit to be handled: they cannot be read, or break a limit or the grammar. A request is answered
//! without state if it can be (RFC 3261 §16.3 step 1, §21.4.1, §21.4.12, §21.5.7), and never with more octets than it had
//! if it is too much or cannot be read; an ACK and a response are dropped. Each is counted by its fault.

use super::Engine;
use super::request::reply_to;
use crate::stats::{DropReason, Rejection};
use crate::turn::{Address, Outgoing, Turn};
use bytes::Bytes;
use common::flow::Flow;
use common::sip::{Fault, Invalid, MethodKind, ParseError, SipMessage};
use common::wire::proxy::ProxyHeader;

/// What is wrong but of usual size gets an answer of at most this many times its octets, as everybody who is unknown does.
const GROWTH: usize = 2;

impl Engine {
    /// Octets that are no message. What can be read of a request is enough to answer it, or nothing is.
    pub(super) fn unreadable(&mut self, turn: &mut Turn<'_>, header: &ProxyHeader, octets: Bytes, error: ParseError) {
        let invalid = Invalid::from(error);
        match SipMessage::remains(octets) {
            Some(request) => {
                self.came(turn, header, &request);
                turn.stats.requests_in[request.method().kind() as usize] += 1;
                self.unfit(turn, header, &request, invalid);
            }
            None => self.dropped(turn, header, None, &invalid),
        }
    }

    /// A message of which at least its kind is known.
    pub(super) fn unfit(&mut self, turn: &mut Turn<'_>, header: &ProxyHeader, message: &SipMessage, invalid: Invalid) {
        // One whose Via cannot be read is echoed, and the answer goes to where the request came from.
        let asks = message.is_request() && message.method().kind() != MethodKind::Ack;
        if !asks || message.top_via_octets().is_none() {
            return self.dropped(turn, header, Some(message), &invalid);
        }
        let source = Flow { listener: header.listener, remote: header.source };
        let back = Address { listener: header.listener, to: reply_to(message, &source), transport: header.transport };
        let answer = self.station.reply(message, &source, invalid.status, Some(invalid.reason.clone()), Vec::new());
        let most = if invalid.fault == Fault::Syntax { GROWTH } else { 1 } * message.bytes().len();
        if answer.len() > most {
            return self.dropped(turn, header, Some(message), &invalid);
        }
        self.note(turn, header, Some(message), &invalid, true);
        turn.reject(Rejection::Invalid);
        turn.send(message.method().kind(), back, Outgoing::new(None, answer));
    }

    fn dropped(&mut self, turn: &mut Turn<'_>, header: &ProxyHeader, message: Option<&SipMessage>, invalid: &Invalid) {
        self.note(turn, header, message, invalid, false);
        turn.drop(DropReason::Malformed);
    }

    fn note(
        &mut self,
        turn: &mut Turn<'_>,
        header: &ProxyHeader,
        message: Option<&SipMessage>,
        invalid: &Invalid,
        answered: bool,
    ) {
        turn.stats.unfit[invalid.fault as usize][usize::from(answered)] += 1;
        self.problems.note(turn.now, header.source, invalid.fault, &invalid.reason, message, answered);
    }
}
