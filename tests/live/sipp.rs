//! SIPp with our own scenarios: they follow route sets, answer challenges, and count every unexpected message.

use crate::namespaces::Host;
use crate::process::Running;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// One SIPp process to be.
pub struct Sipp<'a> {
    pub host: &'a Host,
    pub scenario: &'a str,
    pub local_port: u16,
    /// Where it sends: the VIP; none for a server.
    pub remote: Option<&'a str>,
    pub users: Option<&'a Path>,
    /// Calls per second and how many; none for a server.
    pub rate: Option<(u32, u32)>,
    pub work: &'a Path,
}

impl Sipp<'_> {
    pub fn start(&self) -> Result<Running, String> {
        let scenario = scenarios().join(format!("{}.xml", self.scenario));
        let mut command = self.host.command("sipp");
        command.current_dir(self.work).args(["-sf"]).arg(scenario);
        command.args(["-i", &self.host.address, "-p", &self.local_port.to_string(), "-nostdin", "-trace_err"]);
        command.args(["-error_file", &format!("{}-{}.err", self.scenario, self.local_port)]);
        // By itself it writes the remote address, which for IPv6 is no URI.
        command.args(["-auth_uri", "rack.test"]);
        if let Some(users) = self.users {
            command.arg("-inf").arg(users);
        }
        if let Some((rate, calls)) = self.rate {
            command.args([
                "-r",
                &rate.to_string(),
                "-m",
                &calls.to_string(),
                "-l",
                "2000",
                "-timeout",
                "120",
                "-timeout_error",
            ]);
        }
        if let Some(remote) = self.remote {
            command.arg(remote);
        }
        Running::start(&format!("sipp {}", self.scenario), &mut command)
    }

    /// Runs to the end: every call must have succeeded.
    pub fn finish(&self, patience: Duration) -> Result<(), String> {
        let mut running = self.start()?;
        let status = running.wait(patience)?;
        if status.success() {
            return Ok(());
        }
        let errors = std::fs::read_to_string(self.work.join(format!("{}-{}.err", self.scenario, self.local_port)))
            .unwrap_or_default();
        let first: String = errors.lines().take(40).collect::<Vec<_>>().join("\n");
        Err(format!("sipp {} ended with {status}\n{}\nfirst errors:\n{first}", self.scenario, running.tail(30)))
    }
}

/// The whole numbers in the last line of SIPp's statistics, by their columns' names.
pub fn figures(statistics: &Path) -> Result<BTreeMap<String, u64>, String> {
    let text = std::fs::read_to_string(statistics).map_err(|e| format!("{}: {e}", statistics.display()))?;
    let names = text.lines().next().unwrap_or_default().split(';');
    let last = text.lines().last().unwrap_or_default().split(';');
    Ok(names.zip(last).filter_map(|(name, value)| Some((name.to_string(), value.trim().parse().ok()?))).collect())
}

fn scenarios() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("live/scenarios")
}
