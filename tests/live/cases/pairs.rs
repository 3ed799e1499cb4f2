//! baresip, linphone, pjsua2 and SIPp call each other, each as caller and as callee: held, resumed and ended from either
//! side, cancelled while it rings, refused. One CDR an answered call. A wrong password registers none of them.

use crate::Verdict;
use crate::clients::{KINDS, Kind};
use crate::namespaces::{Host, Network};
use crate::phone::{Account, Event, PLANS, Phone, call, wait};
use crate::rack_process::{Rack, rack_file, work_folder};
use serde_json::Value;
use std::path::Path;
use std::time::Duration;

pub struct Party {
    pub account: Account,
    pub phone: Box<dyn Phone>,
}

pub fn run() -> Verdict {
    let folder = work_folder("pairs")?;
    let mut network = Network::new()?;
    let host = network.host("rack", "10.99.0.1")?;
    let config = rack_file(&host, &folder)?;
    let rack = Rack::start(Some(&host), &folder.join("data"), &["--config", &config.to_string_lossy()])?;
    let mut hosts = Vec::new();
    for n in 0..12 {
        hosts.push(network.host(&format!("p{n}"), &format!("10.99.0.{}", 40 + n))?);
        rack.siprack(&["subscriber", "add", &format!("{}@rack.test", 1001 + n), "--password", "secret"])?;
    }
    let mut callers = register(&KINDS, &hosts[0..4], 1001, "10.99.0.1", &folder)?;
    let mut callees = register(&KINDS, &hosts[4..8], 1005, "10.99.0.1", &folder)?;
    refuse_wrong_passwords(&rack, &hosts[8..12], &folder)?;
    for _ in KINDS {
        round(&mut callers, &mut callees)?;
        callees.rotate_left(1);
    }
    std::thread::sleep(Duration::from_millis(300));
    let cdrs = rack.cdrs();
    for a in &callers {
        for b in &callees {
            check_records(&cdrs, a, b)?;
        }
    }
    rack.stop()?;
    let calls = KINDS.len() * KINDS.len() * PLANS.len();
    Ok(format!("16 pairs, {calls} calls as planned, {} CDRs, 4 wrong passwords refused", cdrs.len()))
}

/// One of each kind, with users from `first` on.
pub fn register(kinds: &[Kind], hosts: &[Host], first: usize, vip: &str, folder: &Path) -> Result<Vec<Party>, String> {
    let start = |(n, kind): (usize, &Kind)| {
        let account = Account::new(&(first + n).to_string(), vip);
        Ok(Party { phone: kind.start(&hosts[n], account.clone(), folder)?, account })
    };
    let parties: Vec<Party> = kinds.iter().enumerate().map(start).collect::<Result<_, String>>()?;
    for party in &parties {
        wait(party.phone.as_ref(), Event::Registered, 0)?;
    }
    Ok(parties)
}

fn refuse_wrong_passwords(rack: &Rack, hosts: &[Host], folder: &Path) -> Result<(), String> {
    let before = rack.siprack(&["registrations", "--count"])?;
    let mut refused = Vec::new();
    for (n, kind) in KINDS.into_iter().enumerate() {
        let account = Account { password: "wrong".to_string(), ..Account::new(&(1009 + n).to_string(), "10.99.0.1") };
        refused.push(kind.start(&hosts[n], account, folder)?);
    }
    for phone in &refused {
        wait(phone.as_ref(), Event::NotRegistered, 0)?;
    }
    let after = rack.siprack(&["registrations", "--count"])?;
    if before == after { Ok(()) } else { Err(format!("wrong passwords: {before} users before, {after} after")) }
}

/// Each caller calls the callee in the same place, all four pairs at once, by every plan.
pub fn round(callers: &mut [Party], callees: &mut [Party]) -> Result<(), String> {
    let pairs = callers.iter_mut().zip(callees.iter_mut());
    let results: Vec<Result<(), String>> = std::thread::scope(|scope| {
        let threads: Vec<_> = pairs
            .map(|(a, b)| {
                scope.spawn(move || {
                    PLANS.into_iter().try_for_each(|plan| call(plan, a.phone.as_mut(), b.phone.as_mut(), &b.account))
                })
            })
            .collect();
        threads.into_iter().map(|t| t.join().unwrap_or_else(|_| Err("a pair panicked".to_string()))).collect()
    });
    let failed: Vec<String> = results.into_iter().filter_map(Result::err).collect();
    if failed.is_empty() { Ok(()) } else { Err(failed.join("\n")) }
}

/// One record of the call that the caller ended, one of the call that the callee ended, none of the others.
pub fn check_records(cdrs: &[Value], a: &Party, b: &Party) -> Result<(), String> {
    let names = |cdr: &Value, key: &str, user: &str| cdr[key].as_str().is_some_and(|uri| uri.contains(user));
    let ended: Vec<&str> = cdrs
        .iter()
        .filter(|c| names(c, "caller", &a.account.user) && names(c, "callee", &b.account.user))
        .filter_map(|c| c["ended_by"].as_str())
        .collect();
    if ended == ["caller", "callee"] || ended == ["callee", "caller"] {
        return Ok(());
    }
    Err(format!(
        "{} called {}: CDRs for a call ended by each were due, there are {ended:?}",
        a.phone.name(),
        b.phone.name()
    ))
}
