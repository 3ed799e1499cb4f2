//! Two baresips with the same private address behind two masquerading routers call each other: answered, a re-INVITE
//! and a BYE from each side.

use crate::Verdict;
use crate::baresip::Baresip;
use crate::namespaces::Network;
use crate::rack_process::{Rack, rack_file, work_folder};

pub fn run() -> Verdict {
    let folder = work_folder("nat")?;
    let mut network = Network::new()?;
    let host = network.host("rack", "10.99.0.1")?;
    let home_a = network.host_behind_nat("a", "10.99.0.11")?;
    let home_b = network.host_behind_nat("b", "10.99.0.12")?;
    let config = rack_file(&host, &folder)?;
    let rack = Rack::start(Some(&host), &folder.join("data"), &["--config", &config.to_string_lossy()])?;
    for user in ["1001", "1002"] {
        rack.siprack(&["subscriber", "add", &format!("{user}@rack.test"), "--password", "secret"])?;
    }
    let mut a = Baresip::start(&home_a, "1001", "10.99.0.1", &folder)?;
    let mut b = Baresip::start(&home_b, "1002", "10.99.0.1", &folder)?;

    // First call: the caller holds and resumes (re-INVITEs from its side), then hangs up.
    a.order("dial", "sip:1002@rack.test")?;
    a.wait("Call established", 1)?;
    b.wait("Call established", 1)?;
    hold(&mut a, &mut b)?;
    a.order("hangup", "")?;
    b.wait("BYE sip:", 1)?;
    // Second call: the callee holds, resumes and hangs up.
    std::thread::sleep(std::time::Duration::from_millis(500));
    a.order("dial", "sip:1002@rack.test")?;
    a.wait("Call established", 2)?;
    b.wait("Call established", 2)?;
    hold(&mut b, &mut a)?;
    b.order("hangup", "")?;
    a.wait("BYE sip:", 2)?;

    std::thread::sleep(std::time::Duration::from_millis(300));
    let cdrs = rack.cdrs();
    if cdrs.len() != 2 {
        return Err(format!("two calls should leave two CDRs: {cdrs:?}"));
    }
    rack.stop()?;
    Ok("both directions, re-INVITE and BYE from each side, 2 CDRs".to_string())
}

/// `holder` sends a re-INVITE for hold and one to resume; `other` must see both inside the dialog.
fn hold(holder: &mut Baresip, other: &mut Baresip) -> Result<(), String> {
    let seen = other.running.count("a=sendonly");
    holder.order("hold", "")?;
    other.wait("a=sendonly", seen + 1)?;
    let seen = other.running.count("a=sendrecv");
    holder.order("resume", "")?;
    other.wait("a=sendrecv", seen + 1)
}
