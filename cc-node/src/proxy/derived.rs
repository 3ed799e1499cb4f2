//! Requests that follow from an INVITE that we sent: its CANCEL (RFC 3261 §9.1) and the ACK to a 3xx-6xx (§17.1.1.3).
//! Both copy Via (branch and token), Route, From, Call-ID and CSeq number from the INVITE as it left.

use bytes::Bytes;
use common::sip::{HeaderId, SipMessage};

/// `invite` as it was sent.
pub fn cancel(invite: &SipMessage) -> Bytes {
    derived(invite, "CANCEL", invite.header(HeaderId::To).unwrap_or_default())
}

/// `response` is the final one that is acknowledged: its To, with its tag, stands in the ACK.
pub fn ack(invite: &SipMessage, response: &SipMessage) -> Bytes {
    derived(invite, "ACK", response.header(HeaderId::To).unwrap_or_default())
}

fn derived(invite: &SipMessage, method: &str, to: &[u8]) -> Bytes {
    let mut out = Vec::with_capacity(512);
    let mut put = |parts: &[&[u8]]| {
        parts.iter().for_each(|part| out.extend_from_slice(part));
        out.extend_from_slice(b"\r\n");
    };
    put(&[method.as_bytes(), b" ", invite.request_uri_octets(), b" SIP/2.0"]);
    put(&[b"Via: ", invite.top_via_octets().unwrap_or_default()]);
    for route in invite.all(HeaderId::Route) {
        put(&[b"Route: ", route]);
    }
    put(&[b"From: ", invite.header(HeaderId::From).unwrap_or_default()]);
    put(&[b"To: ", to]);
    put(&[b"Call-ID: ", invite.call_id()]);
    let number = invite.cseq().map_or(0, |c| c.number).to_string();
    put(&[b"CSeq: ", number.as_bytes(), b" ", method.as_bytes()]);
    put(&[b"Max-Forwards: 70"]);
    put(&[b"Content-Length: 0"]);
    put(&[]);
    out.into()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use common::sip::Limits;

    fn parse(text: &str) -> SipMessage {
        SipMessage::parse(text.replace('\n', "\r\n").into(), &Limits::default()).unwrap()
    }

    #[test]
    fn cancel_and_ack_are_for_the_same_hop() {
        let invite = parse(
            "INVITE sip:b@h SIP/2.0\nVia: SIP/2.0/UDP vip;branch=z9hG4bKx;sr=t\nv: SIP/2.0/UDP a;branch=z9hG4bKy\nRoute: <sip:p;lr>\n\
             From: <sip:a@h>;tag=1\nTo: <sip:b@h>\nCall-ID: c\nCSeq: 0007 INVITE\nContact: <sip:a@h>\n\n",
        );
        let busy = parse("SIP/2.0 486 Busy\nVia: SIP/2.0/UDP vip\nTo: <sip:b@h>;tag=9\n\n");
        let common = "Via: SIP/2.0/UDP vip;branch=z9hG4bKx;sr=t\nRoute: <sip:p;lr>\nFrom: <sip:a@h>;tag=1\n";
        let rest = "Call-ID: c\nCSeq: 7 METHOD\nMax-Forwards: 70\nContent-Length: 0\n\n";
        let expected = |method: &str, to: &str| {
            format!("{method} sip:b@h SIP/2.0\n{common}To: {to}\n{rest}")
                .replace("METHOD", method)
                .replace('\n', "\r\n")
        };
        assert_eq!(cancel(&invite), expected("CANCEL", "<sip:b@h>"));
        assert_eq!(ack(&invite, &busy), expected("ACK", "<sip:b@h>;tag=9"));
    }
}
