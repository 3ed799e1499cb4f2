//! Live runs: the real processes of a rack under real clients (baresip, linphone, pjsua2, SIPp, sipsak, sipvicious) in network namespaces that a run
//! makes and removes itself. Each case prints what it saw; one that cannot run says SKIP with the reason, and in CI
//! (`CI=true`) that fails.
//!
//! `cargo run -p siprack-tests --bin live [-- NAME …]`, a part of a case's name; with `SIPRACK_SOAK=yes` the long ones too; the programs under test are those of the release build.

#![allow(clippy::disallowed_methods, reason = "live runs read clocks, wait, and look at the environment")]

mod cases;
mod clients;
mod load;
mod metrics;
mod namespaces;
mod phone;
mod process;
mod rack_process;
mod script;
mod sipp;
mod switch;
mod wire;

use std::time::Instant;

/// What a case came to. `Err` is a failure with its reason.
pub type Verdict = Result<String, String>;

/// A live run by name, with the commands that it needs.
pub struct Case {
    pub name: &'static str,
    pub needs: &'static [&'static str],
    pub run: fn() -> Verdict,
}

fn main() {
    let wanted: Vec<String> = std::env::args().skip(1).collect();
    let in_ci = std::env::var("CI").is_ok_and(|v| v == "true");
    let soak = std::env::var("SIPRACK_SOAK").is_ok_and(|v| v == "yes") || !wanted.is_empty();
    let all = cases::ALL.iter().chain(cases::SOAK.iter().filter(|_| soak));
    let (mut passed, mut failed, mut skipped) = (0, 0, 0);
    for case in all.filter(|c| wanted.is_empty() || wanted.iter().any(|w| c.name.contains(w.as_str()))) {
        if let Some(reason) = missing(case) {
            println!("SKIP {}: {reason}", case.name);
            skipped += 1;
            continue;
        }
        let start = Instant::now();
        let verdict = std::panic::catch_unwind(case.run).unwrap_or_else(|_| Err("it panicked (see above)".to_string()));
        match verdict {
            Ok(seen) => {
                passed += 1;
                println!("ok   {} ({:.1} s): {seen}", case.name, start.elapsed().as_secs_f64());
            }
            Err(why) => {
                failed += 1;
                println!("FAIL {} ({:.1} s): {why}", case.name, start.elapsed().as_secs_f64());
            }
        }
    }
    if passed + failed + skipped == 0 {
        println!("no live run has a name like {wanted:?}");
        failed += 1;
    }
    println!("live: {passed} passed, {failed} failed, {skipped} skipped");
    if failed > 0 || (in_ci && skipped > 0) {
        std::process::exit(1);
    }
}

fn missing(case: &Case) -> Option<String> {
    if case.needs.contains(&"ip") && !rustix::process::geteuid().is_root() {
        return Some("network namespaces need root".to_string());
    }
    let has = |tool: &str| match tool {
        "pjsua2" => clients::pjsua2::python().is_some(),
        _ => process::find(tool).is_some(),
    };
    let absent: Vec<&str> = case.needs.iter().copied().filter(|tool| !has(tool)).collect();
    (!absent.is_empty()).then(|| format!("not installed: {}", absent.join(", ")))
}
