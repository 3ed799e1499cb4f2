//! The PROXY header in front of every message inside: what this rack's key did not sign is dropped, and what it did is
//! read as it was written, unknown TLVs of a later version left aside.

use super::choices::{Choices, secret};
use super::planes::ring;
use super::{fuzz, seeds};
use common::ids::{BootId, Epoch, ListenerId, NodeId, Transport};
use common::wire::proxy::{Direction, Inquiry, MAX, ProxyError, ProxyHeader, Sent};
use siphasher::sip128::{Hasher128, SipHasher24};
use std::hash::Hasher;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

fn call_id(message: &[u8]) -> Option<&[u8]> {
    message.get(..4)
}

fn address(choices: &mut Choices<'_>) -> SocketAddr {
    let ip = match choices.one_of_256(160) {
        true => IpAddr::from([10, 0, choices.octet(), choices.octet()]),
        false => Ipv6Addr::from(u128::from(choices.long()) << 64 | u128::from(choices.long())).to_canonical(),
    };
    SocketAddr::new(ip, choices.word())
}

fn header(choices: &mut Choices<'_>) -> ProxyHeader {
    let transports = [Transport::Udp, Transport::Tcp, Transport::Tls, Transport::Ws, Transport::Wss];
    ProxyHeader {
        source: address(choices),
        destination: address(choices),
        sender: NodeId(choices.word()),
        boot: BootId(choices.long()),
        epoch: Epoch(choices.long()),
        listener: ListenerId(choices.octet()),
        transport: choices.pick(&transports),
        connection: if choices.one_of_256(128) { choices.long() } else { 0 },
        visited: (0..choices.below(5)).map(|_| NodeId(choices.word())).collect(),
        inquiry: choices
            .one_of_256(128)
            .then(|| (choices.pick(&[Inquiry::Yours, Inquiry::Mine, Inquiry::NotMine]), u32::from(choices.word()))),
        sent: Sent(u32::from(choices.word()) << 16 | u32::from(choices.word())),
        direction: choices.pick(&[Direction::Ingress, Direction::Egress, Direction::Inside]),
    }
}

/// A header with any TLVs and any addresses, signed as a later version of this rack would.
fn signed(choices: &mut Choices<'_>, message: &[u8]) -> Vec<u8> {
    let family = choices.pick(&[0x11u8, 0x12, 0x21, 0x22, 0x00, 0x31]);
    let block = if family < 0x20 { 12 } else { 36 };
    let mut out = b"\r\n\r\n\0\r\nQUIT\n\x21".to_vec();
    out.push(family);
    out.extend_from_slice(&[0, 0]);
    out.extend((0..block).map(|_| choices.octet()));
    for _ in 0..choices.below(8) {
        let value = choices.some(20);
        let length = if choices.one_of_256(230) { value.len() as u16 } else { choices.word() };
        out.push(choices.pick(&[0xE0, 0xE1, 0xE2, 0xE3, 0xE4, 0xE5, 0xE6, 0xE7, 0xEF, 0x04]));
        out.extend_from_slice(&length.to_be_bytes());
        out.extend_from_slice(value);
    }
    let length = (out.len() - 16 + 20) as u16;
    out[14..16].copy_from_slice(&length.to_be_bytes());
    let ring = ring();
    let (id, key) = ring.current();
    let mut hasher = SipHasher24::new_with_key(key.first_chunk().unwrap());
    hasher.write(&out);
    hasher.write(call_id(message).unwrap_or_default());
    out.extend_from_slice(&[0xEF, 0, 17, id]);
    out.extend_from_slice(&hasher.finish128().as_bytes());
    out.extend_from_slice(message);
    out
}

fn check(octets: &[u8]) {
    let mut choices = Choices::new(octets);
    let ring = ring();
    let (id, key) = ring.current();
    let own = header(&mut choices);
    let mut written = [0; MAX];
    let length = own.write(key, id, call_id(seeds::INVITE).unwrap(), &mut written);
    let datagram = [&written[..length], seeds::INVITE].concat();
    let read = ProxyHeader::read(&datagram, ring, call_id).map(|(header, at)| (header.source.port(), header, at));
    assert_eq!(read, Ok((own.source.port(), own, length)));
    // One octet of the header or of the Call-ID is another: refused, and never read as something else.
    let mut changed = datagram.clone();
    let at = choices.below(length + 4);
    changed[at] ^= 1 << choices.below(8);
    let refused = ProxyHeader::read(&changed, ring, call_id);
    assert!(refused.is_err(), "octet {at}");
    let cut = ProxyHeader::read(&datagram[..choices.below(length)], ring, call_id);
    assert!(matches!(cut, Err(ProxyError::NotOne | ProxyError::Length)), "{cut:?}");
    let signed = signed(&mut choices, seeds::BYE);
    if let Ok((header, at)) = ProxyHeader::read(&signed, ring, call_id) {
        assert!(header.visited.len() <= 4 && signed[at..] == *seeds::BYE);
    }
    assert!(ProxyHeader::read(choices.rest(), &secret(octets).plane, call_id).is_err());
}

#[test]
fn fuzz() {
    fuzz!("proxy_header", 6000, check);
}
