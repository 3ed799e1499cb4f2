//! STUN on a SIP port: only a whole Binding request is answered, with the address it came from, and never with more than
//! its header and that one attribute.

use super::choices::Choices;
use super::fuzz;
use common::sip::stun::{RESPONSE_MAX, Stun, read};
use std::net::{IpAddr, SocketAddr};

const COOKIE: [u8; 4] = [0x21, 0x12, 0xa4, 0x42];

fn datagram(choices: &mut Choices<'_>) -> Vec<u8> {
    if choices.one_of_256(64) {
        return choices.rest().to_vec();
    }
    let kind = choices.pick(&[0x0001u16, 0x0011, 0x0101, 0x0002, 0x4001, 0x8001]);
    let body = choices.some(60).to_vec();
    let length = if choices.one_of_256(128) { body.len() as u16 } else { choices.word() };
    let mut out = [kind.to_be_bytes(), length.to_be_bytes()].concat();
    out.extend_from_slice(&COOKIE);
    out.extend((0..12).map(|_| choices.octet()));
    out.extend_from_slice(&body);
    out
}

fn check(octets: &[u8]) {
    let mut choices = Choices::new(octets);
    let mapped = SocketAddr::new(
        if choices.one_of_256(128) { IpAddr::from([198, 51, 100, 7]) } else { "2001:db8::7".parse().unwrap() },
        choices.word(),
    );
    let datagram = datagram(&mut choices);
    let like_stun = datagram.len() >= 20 && datagram[0] < 0x40 && datagram[4..8] == COOKIE;
    let read = read(&datagram);
    assert_eq!(read.is_some(), like_stun);
    let Some(Stun::Request(request)) = read else { return };
    assert_eq!(request.transaction_id, &datagram[8..20]);
    assert_eq!(datagram.len() % 4, 0);
    let mut out = [0xee; RESPONSE_MAX];
    let length = request.binding_success(mapped, &mut out);
    let out = &out[..length];
    assert_eq!(length, if mapped.is_ipv4() { 32 } else { 44 });
    assert_eq!((&out[..2], &out[4..20]), (&[1u8, 1][..], &datagram[4..20]));
    assert_eq!(usize::from(u16::from_be_bytes([out[2], out[3]])), length - 20);
    // The address, masked as RFC 8489 §14.2 says, is the source's.
    let mask = &out[4..20];
    let address: Vec<u8> = out[28..].iter().zip(mask).map(|(a, m)| a ^ m).collect();
    let port = u16::from_be_bytes([out[26] ^ COOKIE[0], out[27] ^ COOKIE[1]]);
    let ip = match <[u8; 4]>::try_from(address.as_slice()) {
        Ok(four) => IpAddr::from(four),
        Err(_) => IpAddr::from(<[u8; 16]>::try_from(address).unwrap()),
    };
    assert_eq!(SocketAddr::new(ip, port), mapped);
}

#[test]
fn fuzz() {
    fuzz!("stun", 8000, check);
}
