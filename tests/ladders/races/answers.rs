//! Repeats (RFC 3261 §17, §13.3.1.4): answers until their ACK, requests that come again.

use super::{BOB, all_ring, bobs_phones};
use crate::stage::{holds, open, play};
use common::time::Duration;
use simulated_rack::network::{Conditions, Strike};

/// Each repeat of the 200 goes on; when the ACK has come there are no more.
#[test]
fn a_200_is_repeated_until_its_ack() {
    play(|| {
        let mut s = open(421);
        let (alice, bobs) = bobs_phones(&mut s, Conditions::STRAIGHT, &["1.0"])?;
        s.habits(alice).acknowledges = false;
        let attempt = s.invite(alice, BOB);
        let invites = all_ring(&mut s, &bobs)?;
        s.run_for(Duration::from_millis(10));
        s.begin_ladder();
        s.answer(bobs[0], &invites[0], 200, "tag-bob1");
        let ok = s.expect(alice, "200 INVITE")?;
        s.run_for(Duration::from_secs(2));
        let ack = attempt.of_response(&ok).request("ACK");
        s.send(alice, ack);
        s.run_for(Duration::from_secs(40));
        s.compare(
            "
            bob1 -> siprack: 200 OK
            siprack -> alice: 200 OK
            bob1 -> siprack: 200 OK
            siprack -> alice: 200 OK
            bob1 -> siprack: 200 OK
            siprack -> alice: 200 OK
            alice -> siprack: ACK
            siprack -> bob1: ACK
            ",
        )
    });
}

/// The ACK to a 200 is lost behind the rack: the 200 comes again, and the ACK with it.
#[test]
fn the_ack_to_a_200_is_lost() {
    play(|| {
        let mut s = open(422);
        let (alice, bobs) = bobs_phones(&mut s, Conditions::STRAIGHT, &["1.0"])?;
        s.invite(alice, BOB);
        let invites = all_ring(&mut s, &bobs)?;
        s.run_for(Duration::from_millis(10));
        s.answer(bobs[0], &invites[0], 200, "tag-bob1");
        s.run_until(Duration::from_secs(1), |s| s.has_heard(alice, "200 INVITE"));
        // Its way: alice → load manager is sent; load manager → node, node → load manager, load manager → bob.
        s.begin_ladder();
        s.set_strike(Strike::Lose(2));
        s.expect(bobs[0], "ACK")?;
        s.compare(
            "
            siprack -> bob1: ACK
            bob1 -> siprack: 200 OK
            siprack -> alice: 200 OK
            alice -> siprack: ACK
            siprack -> bob1: ACK
            ",
        )
    });
}

/// The caller's ACK to a refusal is lost: the rack repeats its answer (Timer G). The phone got its ACK long before.
#[test]
fn the_ack_to_a_refusal_is_lost() {
    play(|| {
        let mut s = open(423);
        let (alice, bobs) = bobs_phones(&mut s, Conditions::STRAIGHT, &["1.0"])?;
        s.invite(alice, BOB);
        let invites = all_ring(&mut s, &bobs)?;
        s.run_for(Duration::from_millis(10));
        s.begin_ladder();
        s.answer(bobs[0], &invites[0], 486, "tag-bob1");
        s.run_until(Duration::from_secs(1), |s| {
            s.rungs().last().is_some_and(|r| r == "siprack -> alice: 486 Busy Here")
        });
        s.set_strike(Strike::Lose(0));
        s.run_for(Duration::from_secs(40));
        s.compare(
            "
            bob1 -> siprack: 486 Busy Here
            siprack -> bob1: ACK
            siprack -> alice: 486 Busy Here
            alice -> siprack: ACK
            siprack -> alice: 486 Busy Here
            alice -> siprack: ACK
            ",
        )
    });
}

/// An INVITE that comes again hears the newest provisional response, and nobody rings twice.
#[test]
fn an_invite_that_comes_again() {
    play(|| {
        let mut s = open(424);
        let (alice, bobs) = bobs_phones(&mut s, Conditions::STRAIGHT, &["1.0"])?;
        let attempt = s.invite(alice, BOB);
        all_ring(&mut s, &bobs)?;
        s.expect(alice, "180")?;
        s.begin_ladder();
        let branch = s.the(alice).invite_branch(&attempt.call_id).unwrap_or_default();
        let mut same = attempt.clone();
        same.cseq -= 1;
        let mut again = same.request("INVITE").body(s.the(alice).sdp(1));
        (again.branch, again.to_address) = (branch, None);
        s.send(alice, again);
        s.run_for(Duration::from_millis(100));
        s.compare(
            "
            alice -> siprack: INVITE
            siprack -> alice: 180 Ringing
            ",
        )?;
        holds("one ring", s.the(bobs[0]).invitations().count() == 1)
    });
}
