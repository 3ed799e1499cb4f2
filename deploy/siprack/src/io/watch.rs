//! A thread of the agent that asks every service for its `/status` and writes the answers on the board. The agent's keys turn
//! as the answers say.

use super::status_port::{SharedBoard, read};
use crate::readiness::Seen;
use crate::services::Kind;
use common::keys::{Generations, Keys};
use serde::Deserialize;
use serde_json::Value;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Between two rounds: while the rack is not ready, and afterwards.
const EAGER: Duration = Duration::from_millis(50);
const CALM: Duration = Duration::from_millis(300);
/// A service on the same machine answers in a millisecond or is in trouble.
const PATIENCE: Duration = Duration::from_millis(500);

/// Watches until `end` is set. Location servers come first in the list, so nodes are compared with an older level.
pub fn run(board: &SharedBoard, keys: &Keys, end: &Arc<AtomicBool>) {
    let http = client(PATIENCE);
    while !end.load(Ordering::Relaxed) {
        round(board, keys, &http);
        let ready = read(board).report().ready;
        std::thread::sleep(if ready { CALM } else { EAGER });
    }
}

/// An HTTP client that takes no proxy from the environment: everything is on this machine.
pub fn client(patience: Duration) -> ureq::Agent {
    ureq::Agent::config_builder()
        .proxy(None)
        .http_status_as_error(false)
        .timeout_global(Some(patience))
        .build()
        .new_agent()
}

fn round(board: &SharedBoard, keys: &Keys, http: &ureq::Agent) {
    let targets: Vec<(usize, Kind, SocketAddr, Option<u32>)> = {
        let mut board = read(board);
        let of_server = board.services.iter().find(|w| w.service.kind == Kind::LocationServer);
        board.level_before = of_server.and_then(|w| w.seen.as_ref()).and_then(|seen| seen.level);
        let all = board.services.iter().enumerate();
        all.map(|(i, w)| (i, w.service.kind, w.service.admin, w.pid)).collect()
    };
    for (i, _, admin, pid) in targets {
        if pid.is_none() {
            continue;
        }
        let answer = ask(http, admin);
        if let Some(told) = answer.as_ref().ok().and_then(|status| Generations::deserialize(&status["keys"]).ok()) {
            keys.turn(&told);
        }
        let mut board = read(board);
        let watched = &mut board.services[i];
        // The process may have been replaced while it was asked.
        if watched.pid != pid {
            continue;
        }
        match answer {
            Ok(status) => {
                watched.seen = Some(Seen::from_json(&status));
                watched.trouble.clear();
            }
            Err(trouble) => {
                watched.seen = None;
                watched.trouble = trouble;
            }
        }
    }
}

fn ask(http: &ureq::Agent, admin: SocketAddr) -> Result<Value, String> {
    let mut response = http.get(format!("http://{}/status", reachable(admin))).call().map_err(|e| e.to_string())?;
    if response.status() != 200 {
        return Err(format!("/status answers {}", response.status()));
    }
    response.body_mut().read_json().map_err(|e| format!("/status is not JSON: {e}"))
}

/// An address to connect to: a service on "any address" is reached over loopback.
pub fn reachable(address: SocketAddr) -> SocketAddr {
    match address {
        SocketAddr::V4(v4) if v4.ip().is_unspecified() => SocketAddr::from(([127, 0, 0, 1], v4.port())),
        SocketAddr::V6(v6) if v6.ip().is_unspecified() => SocketAddr::from((std::net::Ipv6Addr::LOCALHOST, v6.port())),
        other => other,
    }
}
