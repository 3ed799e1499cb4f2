//! A rack of real processes on one host of the test network, driven by the operator's own commands.

use crate::namespaces::Host;
use crate::process::{Running, run, siprack};
use rustix::process::Signal;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// A rack that was started by `siprack up` and is READY.
pub struct Rack {
    host: Option<Host>,
    program: PathBuf,
    pub data: PathBuf,
    /// For `up`.
    arguments: Vec<String>,
    up: Running,
    /// The case went as it should.
    stopped: bool,
}

/// A case that failed leaves a rack behind: what it dropped is told before it ends.
impl Drop for Rack {
    fn drop(&mut self) {
        if !self.stopped {
            for (service, reasons) in self.dropped() {
                println!("     {service} dropped: {}", reasons.join(", "));
            }
        }
    }
}

impl Rack {
    /// Starts it on a host (none: on this machine's loopback) with more arguments for `up`, and waits for READY.
    pub fn start(host: Option<&Host>, data: &Path, arguments: &[&str]) -> Result<Rack, String> {
        let mut rack = Rack::launch(host, data, arguments)?;
        rack.wait_for("READY", Duration::from_secs(30))?;
        Ok(rack)
    }

    /// The same without waiting: one host's part of a rack is not ready before the others'.
    pub fn launch(host: Option<&Host>, data: &Path, arguments: &[&str]) -> Result<Rack, String> {
        let program = siprack()?;
        let arguments: Vec<String> = arguments.iter().map(|argument| argument.to_string()).collect();
        let up = up(host, &program, data, &arguments)?;
        Ok(Rack { host: host.cloned(), program, data: data.to_path_buf(), arguments, up, stopped: false })
    }

    /// Ends it as `stop` does, and starts it again with the same arguments: what an operator does with a new version.
    pub fn restart(&mut self) -> Result<(), String> {
        self.end()?;
        self.up = up(self.host.as_ref(), &self.program, &self.data, &self.arguments)?;
        Ok(())
    }

    /// `siprack ARGUMENTS --data …`: what it printed, or what it complained of.
    pub fn siprack(&self, arguments: &[&str]) -> Result<String, String> {
        run(on(self.host.as_ref(), &self.program).args(arguments).arg("--data").arg(&self.data))
    }

    /// The parsed output of `siprack status --json`, ready or not.
    pub fn status(&self) -> Result<Value, String> {
        let mut command = on(self.host.as_ref(), &self.program);
        let output =
            command.args(["status", "--json", "--data"]).arg(&self.data).output().map_err(|e| e.to_string())?;
        serde_json::from_slice(&output.stdout)
            .map_err(|e| format!("status is no JSON: {e}: {}", String::from_utf8_lossy(&output.stdout)))
    }

    /// Waits until the agent has said this.
    pub fn wait_for(&mut self, what: &str, patience: Duration) -> Result<(), String> {
        self.up.wait_for(what, patience)
    }

    /// How often the agent has said this.
    pub fn said(&self, what: &str) -> usize {
        self.up.count(what)
    }

    /// Waits until status says ready.
    pub fn wait_ready(&self, patience: Duration) -> Result<Duration, String> {
        let start = Instant::now();
        loop {
            let status = self.status()?;
            if status["ready"] == Value::Bool(true) {
                return Ok(start.elapsed());
            }
            if start.elapsed() > patience {
                return Err(format!("not ready after {patience:?}: {status}"));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// The pid of a service by kind and position (0 = first).
    pub fn pid(&self, kind: &str, position: usize) -> Result<i32, String> {
        let status = self.status()?;
        let services = status["services"].as_array().ok_or("status lists no services")?;
        let service = services
            .iter()
            .filter(|s| s["kind"] == kind)
            .nth(position)
            .ok_or(format!("no {kind} number {position}"))?;
        service["pid"].as_i64().map(|pid| pid as i32).ok_or(format!("no pid: {service}"))
    }

    /// kill -9 of a service; its pid then.
    pub fn kill(&self, kind: &str, position: usize) -> Result<i32, String> {
        let pid = self.pid(kind, position)?;
        run(Command::new("kill").args(["-9", &pid.to_string()]))?;
        Ok(pid)
    }

    /// Waits until the agent has another process in that place and the rack is ready again.
    pub fn wait_healed(&self, kind: &str, position: usize, killed: i32) -> Result<Duration, String> {
        let start = Instant::now();
        while self.pid(kind, position).is_ok_and(|pid| pid == killed) {
            if start.elapsed() > Duration::from_secs(10) {
                return Err(format!("{kind} {position} was not restarted within 10 s"));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        self.wait_ready(Duration::from_secs(20))?;
        Ok(start.elapsed())
    }

    /// Everything the nodes wrote as CDRs, a line each. They do so some milliseconds after a call, or a sync of the disk later:
    /// so long as there are more each time, it is waited for, at most a second.
    pub fn cdrs(&self) -> Vec<Value> {
        let mut lines = self.cdrs_so_far();
        for _ in 0..10 {
            std::thread::sleep(Duration::from_millis(100));
            let more = self.cdrs_so_far();
            if more.len() == lines.len() {
                break;
            }
            lines = more;
        }
        lines
    }

    fn cdrs_so_far(&self) -> Vec<Value> {
        let mut lines = Vec::new();
        for entry in std::fs::read_dir(&self.data).into_iter().flatten().flatten() {
            let text = std::fs::read_to_string(entry.path().join("cdr.jsonl")).unwrap_or_default();
            lines.extend(text.lines().filter_map(|line| serde_json::from_str(line).ok()));
        }
        lines
    }

    /// Ctrl-C; it must end by itself within 5 s, with nothing left running.
    pub fn stop(mut self) -> Result<(), String> {
        self.stopped = true;
        self.end()
    }

    fn end(&mut self) -> Result<(), String> {
        let pids: Vec<i64> =
            self.status()?["services"].as_array().into_iter().flatten().filter_map(|s| s["pid"].as_i64()).collect();
        self.signal_agent(Signal::INT);
        self.up.wait(Duration::from_secs(5))?;
        let left: Vec<i64> = pids.into_iter().filter(|pid| Path::new(&format!("/proc/{pid}")).exists()).collect();
        if left.is_empty() { Ok(()) } else { Err(format!("still running after up ended: {left:?}")) }
    }

    /// Datagrams that nodes dropped because they had no lease, or had been asleep.
    pub fn left_unserved(&self) -> u64 {
        let dropped = self.dropped();
        let of = |line: &String| -> Option<u64> {
            (line.contains("no_lease") || line.contains("\"stale\"")).then(|| line.rsplit(' ').next()?.parse().ok())?
        };
        dropped.iter().flat_map(|(_, lines)| lines).filter_map(of).sum()
    }

    /// What each of its services counted as dropped: the lines of its metrics that are not 0.
    fn dropped(&self) -> Vec<(String, Vec<String>)> {
        let status = self.status().unwrap_or_default();
        let services = status["services"].as_array().cloned().unwrap_or_default();
        let told = services.iter().filter_map(|service| {
            let text = self.metrics(service)?;
            let lines = text.lines().filter_map(|line| line.strip_prefix("siprack_dropped_total"));
            let lines = lines.filter(|line| !line.ends_with(" 0")).map(str::to_string).collect();
            Some((service["name"].as_str()?.to_string(), lines))
        });
        told.collect()
    }

    /// What a service of `status` tells Prometheus; none while it is dead.
    fn metrics(&self, service: &Value) -> Option<String> {
        let (host, port) = service["admin"].as_str()?.rsplit_once(':')?;
        let get = "exec 3<>/dev/tcp/$0/$1; printf 'GET /metrics HTTP/1.0\\r\\n\\r\\n' >&3; cat <&3";
        run(on(self.host.as_ref(), Path::new("bash")).args(["-c", get, host, port])).ok()
    }

    /// How many calls each node holds, in the order of `status`.
    pub fn calls_held(&self) -> Result<Vec<u64>, String> {
        let status = self.status()?;
        let nodes = status["services"].as_array().into_iter().flatten().filter(|s| s["kind"] == "cc-node");
        let held = nodes.map(|node| {
            let text = self.metrics(node).unwrap_or_default();
            let calls = text.lines().filter(|line| line.starts_with("siprack_calls{"));
            calls.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum()
        });
        Ok(held.collect())
    }

    pub fn signal_agent(&self, signal: Signal) {
        // `ip netns exec` replaces itself by the program, so this is the agent's own pid.
        self.up.signal(signal);
    }
}

fn up(host: Option<&Host>, program: &Path, data: &Path, arguments: &[String]) -> Result<Running, String> {
    Running::start("siprack up", on(host, program).args(["up", "--data"]).arg(data).args(arguments))
}

fn on(host: Option<&Host>, program: &Path) -> Command {
    match host {
        Some(host) => host.command(program),
        None => Command::new(program),
    }
}

/// A rack file for a host with the VIP at its outside address and the inside on addresses of its own.
pub fn rack_file(host: &Host, folder: &Path) -> Result<PathBuf, String> {
    rack_file_with(host, folder, "")
}

/// The same with more listeners, as lines of the file.
pub fn rack_file_with(host: &Host, folder: &Path, listeners: &str) -> Result<PathBuf, String> {
    let vip = &host.address;
    for last in [1, 11, 12, 13, 21] {
        host.add_inside_address(&format!("10.98.1.{last}"))?;
    }
    let nodes: String = (1..=3)
        .map(|n| {
            format!(
                "  - {{ id: {n}, planes: {{ a: 10.98.1.1{n} }}, sip_port: 15200, workers: 1, control_port: 15020, \
                 admin: \"127.0.0.1:1511{n}\", class: 1, failure_domain: {n}, weight: 100 }}\n"
            )
        })
        .collect();
    let text = format!(
        "name: live\nlisteners:\n  - {{ address: {vip}, port: 5060, transport: udp }}\n{listeners}\
         domains:\n  - {{ name: rack.test, auth: digest, provisioning: closed }}\n\
         load_managers:\n  - {{ id: 1, planes: {{ a: 10.98.1.1 }}, control_port: 15001, egress_port: 15010, workers: 1, admin: \"127.0.0.1:15101\" }}\n\
         cc_nodes:\n{nodes}\
         location_servers:\n  - {{ id: 1, planes: {{ a: 10.98.1.21 }}, port: 15002, admin: \"127.0.0.1:15102\", api: \"127.0.0.1:8080\" }}\n\
         trunks:\n  - {{ id: 1, name: carrier, domain: rack.test, addresses: [\"10.99.0.30:5060\"], listener: 0 }}\n\
         routes:\n  - {{ domain: rack.test, prefix: \"+44\", trunk: carrier }}\n"
    );
    let path = folder.join("rack.yaml");
    std::fs::write(&path, text).map_err(|e| format!("{}: {e}", path.display()))?;
    Ok(path)
}

/// A folder for one case, empty, below the build's target folder.
pub fn work_folder(case: &str) -> Result<PathBuf, String> {
    let path = std::env::temp_dir().join(format!("siprack-live-{}-{case}", std::process::id()));
    let _ = std::fs::remove_dir_all(&path);
    std::fs::create_dir_all(&path).map_err(|e| format!("{}: {e}", path.display()))?;
    Ok(path)
}
