//! Sealed records: the far end opens exactly what was sealed, in its order; anything else ends the connection.

use super::choices::Choices;
use super::fuzz;
use super::planes::ring;
use common::wire::sealed::{HELLO, MAX_PLAIN, Opener, Side, hello, session};

fn check(octets: &[u8]) {
    let mut choices = Choices::new(octets);
    let ring = ring();
    let nonce = |choices: &mut Choices<'_>| std::array::from_fn::<u8, 32, _>(|_| choices.octet());
    let (up, down) = (hello(ring, nonce(&mut choices)), hello(ring, nonce(&mut choices)));
    let (mut sealer, _) = session(ring, Side::Connecting, &up, &down).unwrap();
    let (_, mut opener) = session(ring, Side::Listening, &down, &up).unwrap();
    for _ in 0..1 + choices.below(6) {
        let plain = choices.some(200).to_vec();
        let mut record = Vec::new();
        sealer.seal(&plain, &mut record).unwrap();
        let length = Opener::length(*record.first_chunk().unwrap()).unwrap();
        assert_eq!(length, record.len() - 4);
        let mut sealed = record[4..].to_vec();
        let at = choices.below(sealed.len());
        match choices.below(8) {
            0 => sealed[at] ^= 1 << choices.below(8),
            1 => sealed.truncate(at),
            2 => sealed.extend_from_slice(b"more"),
            // Lost on its way: the next one does not open either.
            3 => continue,
            _ => {}
        }
        let whole = sealed == record[4..];
        match opener.open(&sealed) {
            Ok(opened) => assert!(whole && opened == plain),
            // Changed, or one before it was lost.
            Err(_) => return,
        }
        assert!(opener.open(&sealed).is_err(), "a record was opened twice");
    }
    lengths_and_hellos(&mut choices, &up);
}

fn lengths_and_hellos(choices: &mut Choices<'_>, own: &[u8; HELLO]) {
    let field: [u8; 4] = std::array::from_fn(|_| choices.octet());
    let said = u32::from_be_bytes(field) as usize;
    assert_eq!(Opener::length(field).is_ok(), (16..=MAX_PLAIN + 16).contains(&said));
    let mut peer = *own;
    for _ in 0..choices.below(4) {
        peer[choices.below(HELLO)] = choices.octet();
    }
    if let Ok((_, mut opener)) = session(ring(), Side::Connecting, own, &peer) {
        assert!(opener.open(choices.rest()).is_err());
    }
}

#[test]
fn fuzz() {
    fuzz!("sealed", 3000, check);
}
