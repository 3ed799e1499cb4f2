//! Ten million forgeries of each kind in a soak, a hundred thousand otherwise, made of what would have been believed as
//! it was: none is believed, and each is counted.

use super::doors::{Doors, Genuine, NODES};
use super::ports::PLANES;
use cc_node::doorman::Refused;
use lm_server::forward::DropReason;
use lm_server::membership::{Refusal, Status};
use simulated_rack::chance::Chance;

fn how_many() -> u64 {
    if std::env::var("SIPRACK_SOAK").is_ok_and(|v| v == "yes") { 10_000_000 } else { 100_000 }
}

/// As many forgeries of these as there must be.
fn forged(seed: u64, of: &[Genuine], mut send: impl FnMut(&Genuine, &[u8])) {
    let mut dice = Chance::new(seed);
    for _ in 0..how_many() {
        let genuine = &of[dice.between(0, of.len() as u64 - 1) as usize];
        send(genuine, &genuine.layout.changed(&mut dice, &genuine.bytes));
    }
}

/// For all these reasons somebody without a key is refused, and for no other.
const WITHOUT_A_KEY: [Refusal; 4] = [Refusal::Malformed, Refusal::Mac, Refusal::OldKey, Refusal::Foreign];

/// How many more were refused for each reason.
fn more(before: &Status, after: &Status) -> Vec<(Refusal, u64)> {
    let counts = before.refused.iter().zip(&after.refused).map(|(before, after)| after - before);
    Refusal::ALL.into_iter().zip(counts).filter(|(_, count)| *count > 0).collect()
}

#[test]
fn no_forged_heartbeat_is_believed() {
    let mut doors = Doors::new();
    let genuine: Vec<Genuine> =
        NODES.iter().flat_map(|node| PLANES.map(|plane| doors.heartbeat(*node, plane))).collect();
    let (before, ages, mut sent) = (doors.status(), doors.ages(), 0);
    forged(1, &genuine, |genuine, bytes| {
        sent += 1;
        let believed = doors.believes_only(genuine.from, bytes);
        assert!(believed.is_err_and(|why| WITHOUT_A_KEY.contains(&why)), "{believed:?}: {bytes:02x?}");
    });
    let after = doors.status();
    let counted = more(&before, &after);
    println!("{sent} forged heartbeats: {counted:?}");
    assert_eq!(counted.iter().map(|(_, count)| count).sum::<u64>(), sent);
    assert!(counted.iter().map(|(why, _)| why).eq(&WITHOUT_A_KEY), "each reason comes up, and no other");
    assert_eq!((doors.ages(), after.epoch), (ages, before.epoch), "nobody seems to have been heard since");
    // Each would have been believed.
    for beat in &genuine {
        assert_eq!(doors.believes_only(beat.from, &beat.bytes), Ok(()));
    }
    assert!(doors.ages().iter().flatten().all(|age| *age == Some(0)));
    assert!(more(&after, &doors.status()).is_empty());
}

#[test]
fn no_forged_report_or_word_of_a_death_is_believed() {
    let mut doors = Doors::new();
    let genuine: Vec<Genuine> = NODES.iter().flat_map(|node| [doors.report(*node), doors.stopped(*node)]).collect();
    let (before, mut sent) = (doors.status(), 0);
    forged(2, &genuine, |genuine, bytes| {
        sent += 1;
        let believed = doors.believes_only(genuine.from, bytes);
        assert!(believed.is_err_and(|why| WITHOUT_A_KEY.contains(&why)), "{believed:?}: {bytes:02x?}");
    });
    let after = doors.status();
    let counted = more(&before, &after);
    println!("{sent} forged control frames: {counted:?}");
    assert_eq!(counted.iter().map(|(_, count)| count).sum::<u64>(), sent);
    assert_eq!((doors.live(), after.epoch), (NODES.to_vec(), before.epoch));
    for frame in &genuine {
        assert_eq!(doors.believes_only(frame.from, &frame.bytes), Ok(()));
    }
    assert!(doors.live().is_empty(), "each word of a death is one");
}

#[test]
fn no_forged_beacon_is_read() {
    let doors = Doors::new();
    let genuine = [doors.beacon()];
    assert!(doors.reads_beacon(&genuine[0].bytes));
    let mut refused = 0;
    forged(3, &genuine, |_, bytes| {
        assert!(!doors.reads_beacon(bytes), "{bytes:02x?}");
        refused += 1;
    });
    assert_eq!(refused, how_many());
}

#[test]
fn no_forged_header_is_let_in() {
    let doors = Doors::new();
    let genuine: Vec<Genuine> =
        std::iter::once(doors.inwards()).chain(NODES.iter().map(|node| doors.between(*node))).collect();
    let all_pass = || genuine.iter().all(|one| doors.lets_in(one.from, &one.bytes).is_ok());
    assert!(all_pass());
    let mut refused = 0;
    forged(4, &genuine, |genuine, bytes| {
        assert_eq!(doors.lets_in(genuine.from, bytes), Err(Refused::Header), "{bytes:02x?}");
        refused += 1;
    });
    assert!(refused == how_many() && all_pass());
}

#[test]
fn nothing_leaves_behind_a_forged_header() {
    let doors = Doors::new();
    let genuine: Vec<Genuine> = NODES.iter().map(|node| doors.outwards(*node)).collect();
    let all_pass = || genuine.iter().all(|one| doors.lets_out(&one.bytes).is_ok());
    assert!(all_pass());
    let mut refused = [0u64; DropReason::COUNT];
    forged(5, &genuine, |_, bytes| match doors.lets_out(bytes) {
        Err(why) => refused[why as usize] += 1,
        Ok(()) => panic!("it left: {bytes:02x?}"),
    });
    let without_a_key = [DropReason::ProxyMalformed, DropReason::ProxyMac, DropReason::ProxyOldKey];
    let counts = without_a_key.map(|why| refused[why as usize]);
    println!("{} forged headers outwards: {counts:?} {without_a_key:?}", how_many());
    assert!(counts.iter().all(|count| *count > 0) && all_pass());
    assert_eq!(counts.iter().sum::<u64>(), how_many(), "it is the header that is wrong, whatever else is");
}
