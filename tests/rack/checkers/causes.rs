//! I9: no message of ours without a cause. A response answers a request that came from there; a request goes on for one
//! that came in; a CANCEL follows an INVITE of ours, an ACK an ACK, or a refusal that came from there.

use crate::hosts::actor::message::Message;
use crate::simulation::Simulation;
use std::net::SocketAddr;

struct Seen {
    from: SocketAddr,
    to: SocketAddr,
    message: Message,
    branch: String,
    survived: bool,
}

pub fn check(s: &Simulation) -> Result<(), String> {
    let seen: Vec<Seen> = s
        .wire()
        .iter()
        .filter_map(|carried| {
            let message = Message::parse(&carried.bytes)?;
            let branch = message.branch();
            Some(Seen { from: carried.from, to: carried.to, message, branch, survived: carried.survived })
        })
        .collect();
    for (at, one) in seen.iter().enumerate().filter(|(_, one)| s.is_vip(one.from)) {
        let before = &seen[..at];
        if !has_cause(one, before) {
            return Err(format!("no cause for {} {:?}\n{}", one.to, one.message, s.ladder()));
        }
    }
    Ok(())
}

fn has_cause(ours: &Seen, before: &[Seen]) -> bool {
    let (vip, far) = (ours.from, ours.to);
    let message = &ours.message;
    let came = |one: &&Seen| one.to == vip && one.survived && one.message.call_id() == message.call_id();
    let mut heard = before.iter().filter(came);
    if !message.is_request() {
        // Its topmost Via is now that of the one who asked.
        return heard.any(|one| {
            one.message.is_request()
                && one.message.method() == message.method()
                && one.branch == ours.branch
                && one.message.cseq() == message.cseq()
        });
    }
    let went_on = |one: &Seen| {
        one.message.is_request() && one.message.method() == message.method() && one.message.cseq() == message.cseq()
    };
    match message.method() {
        "CANCEL" => before.iter().any(|one| {
            one.from == vip && one.to == far && one.branch == ours.branch && one.message.method() == "INVITE"
        }),
        "ACK" => heard
            .any(|one| went_on(one) || (one.from == far && one.message.status() >= 300 && one.branch == ours.branch)),
        _ => heard.any(went_on),
    }
}
