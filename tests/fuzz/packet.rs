//! Sealed datagrams: the far end opens exactly what was sealed, and learns who sent it; anything else is refused.

use super::choices::{Choices, secret};
use super::fuzz;
use super::planes::ring;
use common::ids::{BootId, NodeId, Plane};
use common::wire::packet::{Kind, OVERHEAD, Opened, Opener, Sealer, Sender, is_packet};
use common::wire::proxy::Sent;

fn check(octets: &[u8]) {
    let mut choices = Choices::new(octets);
    let ring = ring();
    let from = Sender { node: NodeId(choices.word()), boot: BootId(choices.long()), worker: choices.word() };
    let (mut sealer, mut opener) = (Sealer::new(Kind::Shadow, from), Opener::new(Kind::Shadow));
    for _ in 0..1 + choices.below(6) {
        let plain = choices.some(200).to_vec();
        let (plane, sent) = (choices.pick(&[Plane::A, Plane::B]), Sent(choices.long() as u32));
        let mut datagram = Vec::new();
        sealer.seal(ring, plane, sent, &plain, &mut datagram);
        assert!(is_packet(&datagram) && datagram.len() == plain.len() + OVERHEAD);
        let mut changed = datagram.clone();
        let at = choices.below(changed.len());
        match choices.below(4) {
            0 => changed[at] ^= 1 << choices.below(8),
            1 => changed.truncate(at),
            2 => changed.extend_from_slice(b"more"),
            _ => {}
        }
        let expected = Opened { from, sent, plane, key: ring.current().0, plain };
        match opener.open(ring, &changed) {
            Ok(opened) => assert!(changed == datagram && opened == expected),
            Err(_) => assert!(changed != datagram),
        }
    }
    let nobodys = secret(octets).plane;
    let rest = choices.rest();
    for start in [&b""[..], b"SRS1", b"SRS1\x01\x01\x01\x00"] {
        assert!(Opener::new(Kind::Shadow).open(&nobodys, &[start, rest].concat()).is_err());
    }
}

#[test]
fn fuzz() {
    fuzz!("packet", 3000, check);
}
