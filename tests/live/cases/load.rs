//! `siprack load` against a rack: two seconds of calls at a rate, registrations and OPTIONS; nothing may fail, and every
//! call leaves one CDR.

use crate::Verdict;
use crate::process::{run as carry_out, siprack};
use crate::rack_process::{Rack, work_folder};
use serde_json::Value;
use std::process::Command;

pub fn run() -> Verdict {
    let folder = work_folder("load")?;
    let rack = Rack::start(None, &folder.join("data"), &[])?;
    let users = ["--first-user", "1001", "--users", "20", "--password", "secret", "--json"];
    let load = |arguments: &[&str]| -> Result<Value, String> {
        let said = carry_out(Command::new(siprack()?).arg("load").args(arguments).args(users))?;
        serde_json::from_str(&said).map_err(|e| format!("`siprack load {arguments:?} --json` is no JSON: {e}: {said}"))
    };
    let calls = load(&["calls", "--rate", "100", "--duration", "2"])?;
    let others = [load(&["register", "--calls", "100"])?, load(&["options", "--rate", "200", "--duration", "2"])?];
    for seen in others.iter().chain([&calls]) {
        if seen["failed"] != 0 || seen["finished"] != seen["started"] || seen["started"].as_u64() < Some(100) {
            return Err(format!("not all ended well: {seen}"));
        }
    }
    let cdrs = rack.cdrs().len() as u64;
    if calls["finished"].as_u64() != Some(cdrs) {
        return Err(format!("{} calls left {cdrs} CDRs", calls["finished"]));
    }
    rack.stop()?;
    Ok(format!("{cdrs} calls, each with its CDR; registrations and OPTIONS, 0 failed"))
}
