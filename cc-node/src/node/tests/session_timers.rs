//! Session timers (RFC 4028 §8) as both sides and the CDR see them.

use super::*;
use crate::cdr::EndedBy;

fn timed() -> Bench {
    changed_bench("one_machine:", "session_timers: { min_se_s: 120, expires_s: 600 }\none_machine:")
}

#[test]
fn too_short_an_interval_is_answered_422_and_the_next_try_goes_through() {
    let mut b = timed();
    let short = request("INVITE", "sip:bob@rack.test", "c", 1, "Supported: timer\nSession-Expires: 90\n");
    let said = b.hear(ALICE, &short);
    assert_eq!((said[0].what(), said[0].header("Min-SE")), ("422", "120"));
    let longer =
        request("INVITE", "sip:bob@rack.test", "c", 2, "Supported: timer\nSession-Expires: 3600\nMin-SE: 120\n");
    let said = b.hear(ALICE, &longer);
    assert_eq!(said[1].header("Session-Expires"), "600");
}

#[test]
fn a_callee_without_timers_leaves_the_refresh_to_the_caller() {
    let mut b = timed();
    let forwarded = b.hear(ALICE, &request("INVITE", "sip:bob@rack.test", "c", 1, "Supported: timer\n")).remove(1);
    assert_eq!(forwarded.header("Session-Expires"), "600");
    let ok = b.hear(BOB, &response(&forwarded, "200 OK", "b", BOB_CONTACT)).remove(0);
    assert_eq!((ok.header("Session-Expires"), ok.header("Require")), ("600;refresher=uac", "timer"));
}

#[test]
fn a_session_that_nobody_refreshes_is_over_and_charged() {
    let mut b = timed();
    established(&mut b, "x");
    let forwarded = b.hear(ALICE, &request("INVITE", "sip:bob@rack.test", "c", 1, "Supported: timer\n")).remove(1);
    let answer = format!("{BOB_CONTACT}Session-Expires: 300;refresher=uas\nRequire: timer\n");
    let ok = b.hear(BOB, &response(&forwarded, "200 OK", "b", &answer)).remove(0);
    b.hear(ALICE, &in_dialog("ACK", "c", 1, ok.route(), "sip:bob@10.0.0.2:5060"));
    b.pass(Duration::from_secs(290));
    // Bob refreshes by UPDATE: another 300 s.
    let update = from_bob("UPDATE", "c", 1, ok.route(), "sip:alice@10.0.0.1:5060");
    let update =
        update.replace("Content-Length", "Supported: timer\nSession-Expires: 300;refresher=uac\nContent-Length");
    let update = b.hear(BOB, &update).remove(0);
    b.hear(ALICE, &response(&update, "200 OK", "x", "Session-Expires: 300;refresher=uas\n"));
    assert!(b.pass(Duration::from_secs(331)).iter().all(|said| said.what() != "BYE"));
    assert!(b.cdrs.is_empty(), "some patience for the last BYE");
    let said = b.pass(Duration::from_secs(2));
    assert!(said.is_empty(), "a proxy sends no BYE (§8.3)");
    assert_eq!(b.cdrs.len(), 1);
    assert_eq!((b.cdrs[0].callid.as_str(), b.cdrs[0].ended_by), ("c@alice", EndedBy::SessionExpired));
    assert_eq!(b.node.calls().established(), 1, "the call without timers goes on");
}
