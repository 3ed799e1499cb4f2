//! Words in their octets: what is written is what is read, and nothing else is.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::counted::{CallNo, Key};
use proptest::prelude::*;

const US: Post = Post { node: NodeId(1), boot: BootId(7), worker: 2 };

fn words() -> Vec<Word> {
    let hash = CallHash(0x1234_5678_9abc_def0);
    let whole = Body::Whole { no: RecordNo(300), hash, clock: Time(5), image: Box::default() };
    vec![
        Word::Letter { number: 300, floor: 2, body: whole },
        Word::Letter {
            number: 1,
            floor: 1,
            body: Body::Check { first: hash, last: hash, calls: vec![(hash, RecordNo(9))] },
        },
        Word::Letter { number: u64::MAX, floor: 0, body: Body::Probe },
        Word::Acks { numbers: vec![1, 200, 70_000] },
        Word::Want { hash },
        Word::Which { question: 4, dead: NodeId(3), boot: BootId(9) },
        Word::These { question: 4, part: 0, parts: 2, calls: vec![(hash, RecordNo(1))] },
        Word::Fetched { question: 4, hash, no: RecordNo(0), clock: Time(1), image: None },
        Word::Quarantine { messages: vec![(Fingerprint(u64::MAX), 64_000), (Fingerprint(1), 1)] },
        Word::Admission(admission::Word::Told { n: 7, mine: vec![], over: vec![(Key(CallHash(9)), CallNo(3))] }),
    ]
}

fn sheet_of(words: &[Word]) -> Vec<u8> {
    let mut mail = Mail::default();
    words.iter().for_each(|word| mail.put(US, Over::EveryPlane, &encode(word)));
    mail.take().remove(0).plain
}

#[test]
fn words_are_read_as_they_were_written() {
    assert_eq!(decode(US, &sheet_of(&words())), Ok(words()));
    for word in words() {
        if let Word::Letter { number, floor, body } = &word {
            assert_eq!(letter(*number, *floor, &encode_body(body)), encode(&word), "a body encoded before");
        }
    }
}

#[test]
fn they_are_for_one_worker_of_one_incarnation() {
    let sheet = sheet_of(&words());
    for other in [Post { node: NodeId(2), ..US }, Post { boot: BootId(8), ..US }, Post { worker: 0, ..US }] {
        assert_eq!(decode(other, &sheet), Err(WordError::NotForUs));
    }
    assert_eq!(decode(US, &[]), Err(WordError::Malformed));
    assert_eq!(decode(US, &[2, 0, 1]), Err(WordError::UnknownVersion(2)));
    assert_eq!(decode(US, &[&sheet[..], &[99]].concat()), Err(WordError::Malformed), "no such word");
}

#[test]
fn what_is_full_goes_on_in_another_datagram() {
    let (mut mail, word) = (Mail::default(), encode(&Word::Acks { numbers: vec![u64::MAX; 20] }));
    (0..20).for_each(|_| mail.put(US, Over::EveryPlane, &word));
    mail.put(US, Over::InTurn(1), &word);
    let parcels = mail.take();
    assert!(parcels.len() > 2 && parcels.iter().all(|parcel| parcel.plain.len() <= FULL));
    let read: usize = parcels.iter().map(|parcel| decode(US, &parcel.plain).unwrap().len()).sum();
    assert_eq!((read, mail.is_empty()), (21, true));
}

proptest! {
    #[test]
    fn any_octets_are_read_or_refused(octets in proptest::collection::vec(any::<u8>(), 0..200)) {
        let mut plain = sheet(US, &[]);
        plain.extend(&octets);
        let _ = decode(US, &plain);
        let _ = decode(US, &octets);
    }
}
