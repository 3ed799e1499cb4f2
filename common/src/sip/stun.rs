//! STUN Binding as keep-alive on a SIP port (RFC 8489, RFC 5626 §4.4.2): recognised by the scan, answered by the load manager.

use std::net::{IpAddr, SocketAddr};

const COOKIE: u32 = 0x2112_A442;
const HEADER: usize = 20;
const BINDING_REQUEST: u16 = 0x0001;
const BINDING_INDICATION: u16 = 0x0011;
const BINDING_SUCCESS: u16 = 0x0101;
const XOR_MAPPED_ADDRESS: u16 = 0x0020;

/// Octets that a success response takes at most (IPv6).
pub const RESPONSE_MAX: usize = HEADER + 4 + 20;

/// A Binding request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StunRequest<'a> {
    pub transaction_id: &'a [u8; 12],
}

/// What a datagram with STUN's magic cookie is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stun<'a> {
    Request(StunRequest<'a>),
    /// A Binding indication: asks for no answer.
    Indication,
    /// Another type or a wrong length.
    Other,
}

/// `None` if the octets do not begin like STUN (no SIP message does: its first octet is a letter or mark).
pub fn read(datagram: &[u8]) -> Option<Stun<'_>> {
    let header = datagram.get(..HEADER)?;
    if header[0] & 0xC0 != 0 || header[4..8] != COOKIE.to_be_bytes() {
        return None;
    }
    let kind = u16::from_be_bytes([header[0], header[1]]);
    let length = usize::from(u16::from_be_bytes([header[2], header[3]]));
    if length % 4 != 0 || datagram.len() != HEADER + length {
        return Some(Stun::Other);
    }
    let transaction_id = datagram.get(8..HEADER).and_then(|id| id.try_into().ok());
    Some(match (kind, transaction_id) {
        (BINDING_REQUEST, Some(transaction_id)) => Stun::Request(StunRequest { transaction_id }),
        (BINDING_INDICATION, _) => Stun::Indication,
        _ => Stun::Other,
    })
}

impl StunRequest<'_> {
    /// Writes the Binding success response with XOR-MAPPED-ADDRESS `mapped` (where the request came from) and returns
    /// its length.
    pub fn binding_success(&self, mapped: SocketAddr, out: &mut [u8; RESPONSE_MAX]) -> usize {
        let cookie = COOKIE.to_be_bytes();
        let mut pad = [0u8; 16];
        pad[..4].copy_from_slice(&cookie);
        pad[4..].copy_from_slice(self.transaction_id);
        let mut address = [0u8; 16];
        let (family, size) = match mapped.ip().to_canonical() {
            IpAddr::V4(v4) => {
                address[..4].copy_from_slice(&v4.octets());
                (1u8, 4usize)
            }
            IpAddr::V6(v6) => {
                address = v6.octets();
                (2, 16)
            }
        };
        address.iter_mut().zip(pad).for_each(|(octet, mask)| *octet ^= mask);
        let port = mapped.port() ^ (COOKIE >> 16) as u16;
        let attribute = 4 + size;
        out[0..2].copy_from_slice(&BINDING_SUCCESS.to_be_bytes());
        out[2..4].copy_from_slice(&((4 + attribute) as u16).to_be_bytes());
        out[4..8].copy_from_slice(&cookie);
        out[8..20].copy_from_slice(self.transaction_id);
        out[20..22].copy_from_slice(&XOR_MAPPED_ADDRESS.to_be_bytes());
        out[22..24].copy_from_slice(&(attribute as u16).to_be_bytes());
        out[24] = 0;
        out[25] = family;
        out[26..28].copy_from_slice(&port.to_be_bytes());
        out[28..28 + size].copy_from_slice(&address[..size]);
        28 + size
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The transaction id of RFC 5769's sample messages.
    const ID: &[u8; 12] = b"\xb7\xe7\xa7\x01\xbc\x34\xd6\x86\xfa\x87\xdf\xae";

    fn request(kind: u16) -> Vec<u8> {
        let mut out = kind.to_be_bytes().to_vec();
        out.extend([0, 0]);
        out.extend(COOKIE.to_be_bytes());
        out.extend(ID);
        out
    }

    #[test]
    fn sip_stun_answers_with_the_addresses_of_rfc_5769() {
        let datagram = request(BINDING_REQUEST);
        let Some(Stun::Request(stun)) = read(&datagram) else { panic!("a request") };
        let mut out = [0; RESPONSE_MAX];
        let n = stun.binding_success("192.0.2.1:32853".parse().unwrap(), &mut out);
        assert_eq!(n, 32);
        assert_eq!(&out[..8], b"\x01\x01\x00\x0c\x21\x12\xa4\x42");
        assert_eq!(&out[20..n], b"\x00\x20\x00\x08\x00\x01\xa1\x47\xe1\x12\xa6\x43");
        let n = stun.binding_success("[2001:db8:1234:5678:11:2233:4455:6677]:32853".parse().unwrap(), &mut out);
        assert_eq!(n, 44);
        assert_eq!(
            &out[20..n],
            b"\x00\x20\x00\x14\x00\x02\xa1\x47\x01\x13\xa9\xfa\xa5\xd3\xf1\x79\xbc\x25\xf4\xb5\xbe\xd2\xb9\xd9"
        );
    }

    #[test]
    fn sip_stun_other_kinds_and_lengths() {
        assert_eq!(read(&request(BINDING_INDICATION)), Some(Stun::Indication));
        assert_eq!(read(&request(BINDING_SUCCESS)), Some(Stun::Other));
        let mut long = request(BINDING_REQUEST);
        long.push(0);
        assert_eq!(read(&long), Some(Stun::Other));
        assert_eq!(read(&long[..19]), None);
        assert_eq!(read(b"OPTIONS sip:a@b SIP/2.0\r\n"), None);
    }
}
