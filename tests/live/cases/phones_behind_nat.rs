//! Two baresips with the same private address behind two masquerading routers call each other: answered, a re-INVITE
//! and a BYE from each side.

use crate::Verdict;
use crate::clients::Kind;
use crate::namespaces::Network;
use crate::phone::{Account, Plan, call};
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
    let vip = &host.address;
    let (caller, callee) = (Account::new("1001", vip), Account::new("1002", vip));
    let mut a = Kind::Baresip.register(&home_a, caller, &folder)?;
    let mut b = Kind::Baresip.register(&home_b, callee.clone(), &folder)?;
    call(Plan::CallerEnds, a.as_mut(), b.as_mut(), &callee)?;
    call(Plan::CalleeEnds, a.as_mut(), b.as_mut(), &callee)?;

    std::thread::sleep(std::time::Duration::from_millis(300));
    let cdrs = rack.cdrs();
    if cdrs.len() != 2 {
        return Err(format!("two calls should leave two CDRs: {cdrs:?}"));
    }
    rack.stop()?;
    Ok("both directions, re-INVITE and BYE from each side, 2 CDRs".to_string())
}
