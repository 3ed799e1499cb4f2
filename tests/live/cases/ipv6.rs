//! A rack with an IPv6 listener beside the IPv4 one: the real clients call each other over IPv6, and calls cross from one
//! to the other; those carry two Record-Route values, one for each side (RFC 5658).

use crate::Verdict;
use crate::cases::dialogs::{Ladder, Stage, climb, register};
use crate::cases::pairs::{self, check_records};
use crate::clients::Kind;
use crate::namespaces::{Host, Network};
use crate::rack_process::{Rack, rack_file_with, work_folder};
use crate::script::{NO_BODY, Script, sdp};
use std::path::Path;
use std::time::Duration;

/// Without pjsua2: its wheel is built without IPv6. linphone calls SIPp alone, which does not look at the media: from its
/// second call on linphone offers 127.0.0.1, which a baresip that speaks IPv6 alone refuses with 488.
const CALLERS: [Kind; 3] = [Kind::Baresip, Kind::Sipp, Kind::Linphone];
const CALLEES: [Kind; 3] = [Kind::Baresip, Kind::Sipp, Kind::Sipp];
pub const NEEDS: &[&str] = &["ip", "baresip", "linphonec", "sipp"];

const VIP4: &str = "10.99.0.1:5060";
const VIP6: &str = "[fd99::1]:5060";

pub fn run() -> Verdict {
    let folder = work_folder("ipv6")?;
    let mut network = Network::new()?;
    let host = network.host("rack", "10.99.0.1")?;
    host.add_address("fd99::1")?;
    let config = rack_file_with(&host, &folder, "  - { address: \"fd99::1\", port: 5060, transport: udp }\n")?;
    let rack = Rack::start(Some(&host), &folder.join("data"), &["--config", &config.to_string_lossy()])?;
    for user in (1001..=1006).chain(2001..=2003) {
        rack.siprack(&["subscriber", "add", &format!("{user}@rack.test"), "--password", "secret"])?;
    }
    let mut phones = Vec::new();
    for n in 0..6 {
        phones.push(network.host(&format!("p{n}"), &format!("fd99::{}", 40 + n))?);
    }
    let mut callers = pairs::register(&CALLERS, &phones[0..3], 1001, "[fd99::1]", &folder)?;
    let mut callees = pairs::register(&CALLEES, &phones[3..6], 1004, "[fd99::1]", &folder)?;
    pairs::round(&mut callers, &mut callees)?;
    callees.swap(0, 1);
    pairs::round(&mut callers[..2], &mut callees[..2])?;
    pairs::round(&mut callees[2..], &mut callers[2..])?;
    std::thread::sleep(Duration::from_millis(300));
    let cdrs = rack.cdrs();
    let mut called = 0;
    for a in &callers[..2] {
        for b in &callees[..2] {
            check_records(&cdrs, a, b)?;
            called += 1;
        }
    }
    for (a, b) in [(&callers[2], &callees[2]), (&callees[2], &callers[2])] {
        check_records(&cdrs, a, b)?;
        called += 1;
    }
    let crossed = cross(&mut network, &rack, &folder)?;
    rack.stop()?;
    Ok(format!("{called} pairs of clients over IPv6, {crossed} calls across with two Record-Route values each"))
}

/// A SIPp that is registered at one of the listeners.
struct Side<'a> {
    host: &'a Host,
    user: &'a str,
    vip: &'a str,
}

/// SIPp with one address of each kind calls across, ended by the caller and by the callee.
fn cross(network: &mut Network, rack: &Rack, folder: &Path) -> Result<usize, String> {
    let four = network.host("four", "10.99.0.20")?;
    let six = network.host("six", "fd99::21")?;
    let other = network.host("other", "fd99::22")?;
    register(&four, "2001", "5060", VIP4, folder)?;
    register(&six, "2002", "5060", VIP6, folder)?;
    register(&other, "2003", "5060", VIP6, folder)?;
    let four = Side { host: &four, user: "2001", vip: VIP4 };
    let six = Side { host: &six, user: "2002", vip: VIP6 };
    let other = Side { host: &other, user: "2003", vip: VIP6 };
    for (name, a, b, routes) in [("4-to-6", &four, &six, 2), ("6-to-4", &six, &four, 2), ("6-to-6", &six, &other, 1)] {
        let stage = Stage { caller: (a.host, "5060"), callee: (b.host, "5060"), vip: a.vip, rack, folder };
        for ladder in [caller_ends(name, a.user, b.user), callee_ends(name, a.user, b.user)] {
            climb(&ladder, &stage)?;
            let recorded = recorded_routes(folder, ladder.callee.name())?;
            if recorded.len() != routes {
                return Err(format!("{name}: {routes} Record-Route values were due, the INVITE has {recorded:?}"));
            }
            if routes == 2 && recorded[0].contains('[') == recorded[1].contains('[') {
                return Err(format!("{name}: one value for each side was due, the INVITE has {recorded:?}"));
            }
        }
    }
    Ok(4)
}

fn caller_ends(name: &str, from: &str, to: &str) -> Ladder {
    let caller = Script::caller(&format!("{name}-a-caller"), &format!("{from}@rack.test"))
        .begin("INVITE", to, &sdp("sendrecv"))
        .provisional("180")
        .dialog_by("200")
        .within("ACK", NO_BODY)
        .pause(100)
        .done_within("INVITE", &sdp("sendonly"))
        .done_within("BYE", NO_BODY);
    Ladder { caller, callee: answered(&format!("{name}-a-callee")).serve_until_bye() }
}

fn callee_ends(name: &str, from: &str, to: &str) -> Ladder {
    let caller = Script::caller(&format!("{name}-b-caller"), &format!("{from}@rack.test"))
        .begin("INVITE", to, &sdp("sendrecv"))
        .provisional("180")
        .dialog_by("200")
        .within("ACK", NO_BODY)
        .serve_until_bye();
    let callee = answered(&format!("{name}-b-callee"))
        .pause(200)
        .done_within("INVITE", &sdp("sendonly"))
        .pause(100)
        .done_within("BYE", NO_BODY);
    Ladder { caller, callee }
}

fn answered(name: &str) -> Script {
    Script::callee(name)
        .dialog_begins("INVITE")
        .answer("180 Ringing", true, NO_BODY)
        .pause(100)
        .answer("200 OK", true, &sdp("sendrecv"))
        .request("ACK")
}

/// The Record-Route values of the first INVITE that a script got.
fn recorded_routes(folder: &Path, script: &str) -> Result<Vec<String>, String> {
    let path = folder.join(format!("{script}.messages"));
    let text = std::fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))?;
    let invite =
        text.lines().skip_while(|line| !line.starts_with("INVITE ")).take_while(|line| !line.trim().is_empty());
    Ok(invite.filter_map(|line| line.strip_prefix("Record-Route:")).map(|value| value.trim().to_string()).collect())
}
