//! The fates of frames: by seed, by share, and by cut.

use super::*;

const BROADCAST: Mac = [0xFF; 6];

fn mac(port: Port) -> Mac {
    [2, 0, 0, 0, 0, port as u8]
}

/// A frame between two MACs with a number in it.
fn frame(to: Mac, from: Mac, number: u32) -> Vec<u8> {
    [&to[..], &from, &[8, 0], &number.to_be_bytes()].concat()
}

fn number(frame: &[u8]) -> u32 {
    u32::from_be_bytes([frame[14], frame[15], frame[16], frame[17]])
}

/// A switch with four hosts that it knows.
fn four(seed: u64, faults: Faults) -> Fates {
    let mut fates = Fates::new(seed, Faults::default());
    let mut out = Vec::new();
    for port in 0..4 {
        assert_eq!(fates.plug(), port);
    }
    for port in 0..4 {
        fates.receive(Time(0), port, &frame(BROADCAST, mac(port), 0), &mut out);
    }
    fates.set(faults);
    fates
}

/// What arrives at port 1 of `count` frames from port 0, one every millisecond, with the moments.
fn arrivals(fates: &mut Fates, count: u32) -> Vec<(Time, Vec<u8>)> {
    let mut arrived = Vec::new();
    for number in 1..=count {
        let now = Time(u64::from(number) * 1000);
        let mut out = Vec::new();
        while let Some(due) = fates.next_due().filter(|due| *due <= now) {
            fates.due(due, &mut out);
            arrived.extend(out.drain(..).map(|(port, frame)| {
                assert_eq!(port, 1);
                (due, frame)
            }));
        }
        fates.receive(now, 0, &frame(mac(1), mac(0), number), &mut out);
        arrived.extend(out.drain(..).map(|(_, frame)| (now, frame)));
    }
    let mut out = Vec::new();
    while let Some(due) = fates.next_due() {
        fates.due(due, &mut out);
        arrived.extend(out.drain(..).map(|(_, frame)| (due, frame)));
    }
    arrived
}

#[test]
fn it_floods_what_it_does_not_know_and_learns() {
    let mut fates = Fates::new(1, Faults::default());
    for _ in 0..3 {
        fates.plug();
    }
    let mut out = Vec::new();
    fates.receive(Time(0), 0, &frame(mac(2), mac(0), 1), &mut out);
    let ports = |out: &[(Port, Vec<u8>)]| out.iter().map(|(port, _)| *port).collect::<Vec<_>>();
    assert_eq!(ports(&out), [1, 2]);
    out.clear();
    fates.receive(Time(1), 2, &frame(mac(0), mac(2), 2), &mut out);
    assert_eq!(ports(&out), [0], "it knows where 0 is");
    out.clear();
    fates.receive(Time(2), 0, &frame(BROADCAST, mac(0), 3), &mut out);
    assert_eq!(ports(&out), [1, 2], "everybody but the sender hears a broadcast");
    out.clear();
    fates.receive(Time(3), 0, &[1, 2, 3], &mut out);
    assert!(out.is_empty(), "a stump is no frame");
}

#[test]
fn the_same_seed_gives_the_same_fates() {
    let faults = Faults { loss: 0.1, duplicate: 0.1, reorder: 0.1, delay: 0.1, corrupt: 0.1, ..Faults::default() };
    let run = |seed| arrivals(&mut four(seed, faults), 2_000);
    assert_eq!(run(7), run(7));
    assert_ne!(run(7), run(8));
}

#[test]
fn the_shares_are_those_that_were_asked_for() {
    let near = |got: u64, share: f64| {
        let wanted = 100_000.0 * share;
        assert!((got as f64 - wanted).abs() < wanted * 0.1, "{got} instead of {wanted}");
    };
    let lossy = Faults { loss: 0.05, ..Faults::default() };
    let mut fates = four(2, lossy);
    let arrived = arrivals(&mut fates, 100_000).len() as u64;
    near(fates.counts().lost, 0.05);
    assert_eq!(arrived + fates.counts().lost, 100_000);
    let doubling = Faults { duplicate: 0.05, ..Faults::default() };
    near(arrivals(&mut four(3, doubling), 100_000).len() as u64 - 100_000, 0.05);
    let mut fates = four(4, Faults { delay: 0.02, ..Faults::default() });
    let late = arrivals(&mut fates, 100_000).iter().filter(|(at, f)| at.0 > u64::from(number(f)) * 1000).count() as u64;
    near(late, 0.02);
    let mut fates = four(5, Faults { corrupt: 0.01, ..Faults::default() });
    arrivals(&mut fates, 100_000);
    near(fates.counts().flipped, 0.01);
}

#[test]
fn a_frame_that_is_held_back_comes_behind_the_next() {
    let mut fates = four(6, Faults { reorder: 0.05, ..Faults::default() });
    let numbers: Vec<u32> = arrivals(&mut fates, 100_000).iter().map(|(_, f)| number(f)).collect();
    let swapped = numbers.windows(2).filter(|pair| pair[0] > pair[1]).count();
    assert_eq!(numbers.len(), 100_000, "none is lost by it");
    assert!((4_000..5_500).contains(&swapped), "{swapped} came behind their next");
    // If no next one comes, it does not wait for ever.
    let mut fates = four(6, Faults { reorder: 1.0, ..Faults::default() });
    assert_eq!(arrivals(&mut fates, 1)[0].0, Time(1000) + HELD_AT_MOST);
}

#[test]
fn a_flip_is_one_bit_behind_the_addresses() {
    let mut fates = four(9, Faults { corrupt: 1.0, ..Faults::default() });
    for (at, changed) in arrivals(&mut fates, 1_000) {
        let sent = frame(mac(1), mac(0), (at.0 / 1000) as u32);
        let bits: u32 = sent.iter().zip(&changed).map(|(a, b)| (a ^ b).count_ones()).sum();
        assert_eq!((bits, sent[..HEAD] == changed[..HEAD]), (1, true));
    }
}

/// A frame with a UDP datagram for this port, padded as Ethernet pads what is short.
fn datagram_for(port: u16, payload: &[u8]) -> Vec<u8> {
    let mut frame = [&mac(1)[..], &mac(0), &[8, 0, 0x45, 0]].concat();
    frame.extend((28 + payload.len() as u16).to_be_bytes());
    frame.extend([0, 1, 0x40, 0, 64, 17, 0, 0, 10, 98, 1, 1, 10, 98, 1, 11]);
    frame.extend(15001_u16.to_be_bytes());
    frame.extend(port.to_be_bytes());
    frame.extend((8 + payload.len() as u16).to_be_bytes());
    frame.extend([0xAB, 0xCD]);
    [&frame[..], payload, &[0; 9]].concat()
}

#[test]
fn what_the_checksum_does_not_tell_is_one_bit_of_a_payload_that_is_no_sip() {
    let mut fates = four(12, Faults { unnoticed: 1.0, ..Faults::default() });
    let sent = datagram_for(15020, b"sealed");
    for _ in 0..500 {
        let mut out = Vec::new();
        fates.receive(Time(1), 0, &sent, &mut out);
        let changed = &out[0].1;
        let (was, is) = (datagram(&sent).expect("a datagram"), datagram(changed).expect("a datagram"));
        let bits: u32 = was.payload.iter().zip(is.payload).map(|(a, b)| (a ^ b).count_ones()).sum();
        assert_eq!((bits, was.payload.len()), (1, is.payload.len()));
        assert_eq!((&changed[..40], &changed[40..42], &changed[48..]), (&sent[..40], &[0, 0][..], &sent[48..]));
    }
    assert_eq!(fates.counts().unnoticed, 500);
    let sip = [&b"\r\n\r\n\0\r\nQUIT\n"[..], &[0x21, 0x12, 0, 0], b"BYE"].concat();
    for untouched in [datagram_for(15200, &sip), datagram_for(15020, b""), frame(mac(1), mac(0), 1)] {
        let mut out = Vec::new();
        fates.receive(Time(1), 0, &untouched, &mut out);
        assert_eq!(out[0].1, untouched);
    }
}

#[test]
fn a_cut_may_be_of_one_port_one_way() {
    for (how, passed) in [(Cut::InwardTo(15020), [0, 1, 1]), (Cut::OutwardTo(15020), [1, 0, 1])] {
        let mut fates = four(13, Faults::default());
        fates.cut(1, Some(how));
        let mut arrived = |from: Port, frame: &[u8]| {
            let mut out = Vec::new();
            fates.receive(Time(1), from, frame, &mut out);
            out.len()
        };
        let mut back = datagram_for(15020, b"beat");
        back[..MACS].rotate_left(MACS / 2);
        let all =
            [arrived(0, &datagram_for(15020, b"beacon")), arrived(1, &back), arrived(0, &datagram_for(15200, b"SIP"))];
        assert_eq!(all, passed, "{how:?}");
    }
}

#[test]
fn latency_keeps_the_order() {
    let mut fates = four(10, Faults { latency: Duration::from_millis(60), ..Faults::default() });
    let arrived = arrivals(&mut fates, 1_000);
    for (at, frame) in &arrived {
        assert_eq!(at.0, u64::from(number(frame)) * 1000 + 60_000);
    }
    assert!(arrived.windows(2).all(|pair| number(&pair[0].1) < number(&pair[1].1)));
}

#[test]
fn a_cut_is_one_way_or_both() {
    for (how, to, from) in [(Cut::Both, 0, 0), (Cut::Inward, 0, 1), (Cut::Outward, 1, 0)] {
        let mut fates = four(11, Faults::default());
        fates.cut(1, Some(how));
        let (mut there, mut back) = (Vec::new(), Vec::new());
        fates.receive(Time(1), 0, &frame(mac(1), mac(0), 1), &mut there);
        fates.receive(Time(1), 1, &frame(mac(0), mac(1), 2), &mut back);
        assert_eq!((there.len(), back.len()), (to, from), "{how:?}");
        assert_eq!(fates.counts().cut, 2 - (to + from) as u64);
        fates.cut(1, None);
        fates.receive(Time(2), 0, &frame(mac(1), mac(0), 3), &mut there);
        assert_eq!(there.len(), to + 1, "whole again");
    }
}
