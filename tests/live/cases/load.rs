//! `siprack load` against a rack: two seconds of calls at a rate, registrations and OPTIONS; nothing may fail, and every
//! call leaves one CDR.

use crate::Verdict;
use crate::load::{SUBSCRIBERS, made_by_siprack};
use crate::rack_process::{Rack, work_folder};
use serde_json::Value;

pub fn run() -> Verdict {
    let folder = work_folder("load")?;
    let rack = Rack::start(None, &folder.join("data"), &[])?;
    let load = |arguments: &[&str]| -> Result<Value, String> {
        let seen = made_by_siprack(&[arguments, &SUBSCRIBERS].concat())?;
        match seen["started"].as_u64() >= Some(100) {
            true => Ok(seen),
            false => Err(format!("too few: {seen}")),
        }
    };
    let calls = load(&["calls", "--rate", "100", "--duration", "2"])?;
    load(&["register", "--calls", "100"])?;
    load(&["options", "--rate", "200", "--duration", "2"])?;
    let cdrs = rack.cdrs().len() as u64;
    if calls["finished"].as_u64() != Some(cdrs) {
        return Err(format!("{} calls left {cdrs} CDRs", calls["finished"]));
    }
    rack.stop()?;
    Ok(format!("{cdrs} calls, each with its CDR; registrations and OPTIONS, 0 failed"))
}
