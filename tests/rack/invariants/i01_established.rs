//! I1: once the caller has its 200 and the callee its ACK, every later request of the dialog reaches the peer, and the
//! rack says nothing in it of its own: no 481, 408 or 503 that the peer has not said, and no BYE.

use super::wire::{Rung, Wire};
use crate::simulation::{Carried, Simulation};

/// A request that was sent so often was given all of RFC 3261's patience but for the last repeats.
const OFTEN: usize = 9;

/// Rule 6: the rack never ends a call by itself: no 481 or 408 leaves the VIP for a request of an established dialog.
pub fn check(s: &Simulation) -> Result<(), String> {
    for Carried { at, from, to, bytes, .. } in s.wire() {
        let ours = *from == s.vip();
        if ours && [&b"SIP/2.0 481"[..], b"SIP/2.0 408"].iter().any(|head| bytes.starts_with(head)) {
            return Err(format!("at {at:?} to {to}: {}\n{}", String::from_utf8_lossy(bytes), s.story()));
        }
    }
    Ok(())
}

/// Both tags, in either order.
type Tags = [String; 2];

fn tags(rung: &Rung) -> Tags {
    let mut tags = [rung.message.from_tag(), rung.message.to_tag()];
    tags.sort();
    tags
}

/// Everything that the wire has carried so far.
pub fn holds(wire: &Wire) -> Result<(), (String, String)> {
    for (call_id, rungs) in &wire.calls {
        dialogs(rungs).map_err(|why| (format!("I1: {why}"), call_id.clone()))?;
    }
    Ok(())
}

fn dialogs(rungs: &[Rung]) -> Result<(), String> {
    // Where each dialog's ACK came through to the callee.
    let mut stand: Vec<(usize, Tags)> = Vec::new();
    for (at, rung) in rungs.iter().enumerate() {
        let confirms = rung.outwards && rung.survived && rung.asks("ACK");
        let answered = |before: &Rung| before.outwards && before.survived && before.is_ok("INVITE");
        let is_new = || !stand.iter().any(|(_, known)| *known == tags(rung));
        if confirms && is_new() && rungs[..at].iter().any(|r| answered(r) && tags(r) == tags(rung)) {
            stand.push((at, tags(rung)));
        }
    }
    stand.into_iter().try_for_each(|(at, tags)| dialog(rungs, at, &tags))
}

fn dialog(rungs: &[Rung], from: usize, of: &Tags) -> Result<(), String> {
    let within: Vec<&Rung> = rungs.iter().filter(|rung| tags(rung) == *of).collect();
    // A BYE may have come in before the ACK went out.
    let earlier = rungs[..from].iter().filter(|rung| tags(rung) == *of).count();
    let mut over = false;
    for (at, rung) in within.iter().enumerate().skip(earlier) {
        let before = &within[..at];
        let (status, method) = (rung.message.status(), rung.message.method());
        if rung.outwards && matches!(status, 481 | 408 | 503) && !over {
            let said = |r: &&&Rung| !r.outwards && r.survived && r.message.status() == status && r.is_of(rung);
            if !before.iter().any(|r| said(&r)) {
                return Err(format!("{status} to a {method} of an established dialog, which its peer has not said"));
            }
        }
        if rung.outwards && rung.asks("BYE") && !before.iter().any(|r| !r.outwards && r.survived && r.is_of(rung)) {
            return Err("a BYE that neither side has sent".to_string());
        }
        // Who has hung up may be told anything afterwards.
        over |= rung.ends("BYE");
    }
    for request in within.iter().filter(|r| !r.outwards && r.message.is_request() && r.message.method() != "ACK") {
        let came = within.iter().filter(|r| r.message.is_request() && !r.outwards && r.survived && r.is_of(request));
        let went = within.iter().any(|r| r.outwards && r.is_of(request));
        let often = came.count();
        if often >= OFTEN && !went {
            return Err(format!("{} came {often} times and never went on to the peer", request.message.first));
        }
    }
    Ok(())
}
