//! Load on a rack from outside: whoever makes it stands behind `Load`, so that cases need not know.

use crate::namespaces::Host;
use crate::process::{Running, run, siprack};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// What came of a load.
pub struct Outcome {
    pub calls: u64,
    pub failed: u64,
}

/// The demo rack's subscribers, for `siprack load`.
pub const SUBSCRIBERS: [&str; 6] = ["--first-user", "1001", "--users", "20", "--password", "secret"];

/// What `siprack load` tells of a load that it made; not all ending well is an error.
pub fn made_by_siprack(arguments: &[&str]) -> Result<Value, String> {
    let said = run(Command::new(siprack()?).arg("load").args(arguments).arg("--json"))?;
    let seen: Value = serde_json::from_str(&said)
        .map_err(|e| format!("`siprack load {arguments:?} --json` is no JSON: {e}: {said}"))?;
    match seen["failed"] == 0 && seen["finished"] == seen["started"] {
        true => Ok(seen),
        false => Err(format!("`siprack load {arguments:?}`: not all ended well: {seen}")),
    }
}

/// A load that runs by itself until `finish`.
pub trait Load {
    /// Starts calls at `rate` a second for so long.
    fn start(&mut self, rate: u32, lasting: Duration) -> Result<(), String>;

    /// Waits for its end.
    fn finish(&mut self) -> Result<Outcome, String>;
}

/// SIPp: `call.xml` from one port, `answer.xml` at another where the callees are registered.
pub struct SippLoad {
    host: Host,
    vip: String,
    /// Caller, credentials and callee a line.
    pairs: PathBuf,
    work: PathBuf,
    answering: Option<Running>,
    calling: Option<Running>,
    lasting: Duration,
}

const STATISTICS: &str = "load.csv";

impl SippLoad {
    pub fn new(host: &Host, vip: &str, pairs: &Path, work: &Path) -> SippLoad {
        SippLoad {
            host: host.clone(),
            vip: vip.to_string(),
            pairs: pairs.to_path_buf(),
            work: work.to_path_buf(),
            answering: None,
            calling: None,
            lasting: Duration::ZERO,
        }
    }

    fn sipp(&self, scenario: &str, more: &[&str]) -> Result<Running, String> {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("live/scenarios/{scenario}.xml"));
        let mut command = self.host.command("sipp");
        command.current_dir(&self.work).arg("-sf").arg(path).args(["-i", &self.host.address, "-nostdin"]);
        command.args(["-trace_err", "-error_file", &format!("{scenario}-load.err")]).args(more);
        Running::start(&format!("sipp {scenario}"), &mut command)
    }
}

impl Load for SippLoad {
    fn start(&mut self, rate: u32, lasting: Duration) -> Result<(), String> {
        self.answering = Some(self.sipp("answer", &["-p", "5070"])?);
        let (rate, calls) = (rate.to_string(), (u64::from(rate) * lasting.as_secs()).to_string());
        let pairs = self.pairs.to_string_lossy();
        let options =
            ["-p", "5080", "-inf", &pairs, "-auth_uri", "rack.test", "-r", &rate, "-m", &calls, "-l", "10000"];
        let statistics = ["-trace_stat", "-stf", STATISTICS, "-fd", "10", &self.vip];
        self.calling = Some(self.sipp("call", &[&options[..], &statistics].concat())?);
        self.lasting = lasting;
        Ok(())
    }

    fn finish(&mut self) -> Result<Outcome, String> {
        let mut calling = self.calling.take().ok_or("no load was started")?;
        calling.wait(self.lasting + Duration::from_secs(90))?;
        let path = self.work.join(STATISTICS);
        let text = std::fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))?;
        let mut lines = text.lines();
        let names: Vec<&str> = lines.next().unwrap_or_default().split(';').collect();
        let last: Vec<&str> = lines.last().unwrap_or_default().split(';').collect();
        let column = |name: &str| {
            let place = names.iter().position(|n| *n == name).ok_or(format!("{STATISTICS} has no {name}"))?;
            last.get(place).and_then(|v| v.trim().parse::<u64>().ok()).ok_or(format!("{name} is no number: {last:?}"))
        };
        let (good, failed) = (column("SuccessfulCall(C)")?, column("FailedCall(C)")?);
        Ok(Outcome { calls: good + failed, failed })
    }
}
