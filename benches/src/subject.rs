//! Who is measured: the plain relay, Kamailio from the distribution, and racks of ours. Each is started afresh, says where
//! it listens and which processes it is made of, and is ended when it goes out of scope.

use crate::cpu;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// The called side of the load: Kamailio's configuration names it.
pub const UAS: &str = "127.0.0.1:5091";
const KAMAILIO_AT: &str = "127.0.0.1:5070";
const RELAY_AT: &str = "127.0.0.1:5080";
const VIP: &str = "127.0.0.1:5060";
/// How long one may take to start.
const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// Datagrams in, datagrams out, nothing looked at.
    Relay,
    Kamailio(Work),
    Rack {
        nodes: u16,
    },
}

/// What Kamailio does for a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// Transactions, to one address.
    Transactions,
    /// It knows of the call, too.
    Dialogs,
    /// What a rack does: checks, the called user's registration, a CDR.
    Service,
}

impl Work {
    fn defines(self) -> &'static [&'static str] {
        match self {
            Work::Transactions => &[],
            Work::Dialogs => &["-A", "WITH_DIALOG=1"],
            Work::Service => &["-A", "WITH_SERVICE=1"],
        }
    }
}

impl Subject {
    pub fn name(self) -> String {
        match self {
            Subject::Relay => "plain relay".to_string(),
            Subject::Kamailio(Work::Transactions) => "kamailio".to_string(),
            Subject::Kamailio(Work::Dialogs) => "kamailio + dialog".to_string(),
            Subject::Kamailio(Work::Service) => "kamailio + service".to_string(),
            Subject::Rack { nodes: 1 } => "rack, 1 node".to_string(),
            Subject::Rack { nodes } => format!("rack, {nodes} nodes"),
        }
    }

    /// Whether users must be registered first: Kamailio's configuration may know the way.
    pub fn wants_registrations(self) -> bool {
        matches!(self, Subject::Rack { .. } | Subject::Kamailio(Work::Service))
    }
}

/// Where the programs and the configuration of peers are.
pub struct Places {
    /// Of `siprack` and of this program.
    pub programs: PathBuf,
    /// The repository's root.
    pub root: PathBuf,
    /// For state directories; emptied at every start.
    pub scratch: PathBuf,
}

/// A running one.
pub struct Running {
    pub target: SocketAddr,
    child: Child,
    /// (what it does, its processes)
    parts: Vec<(&'static str, Vec<u32>)>,
    /// Where the nodes of a rack of ours tell of themselves, in the order of their processes.
    admins: Vec<String>,
}

impl Drop for Running {
    fn drop(&mut self) {
        // SIGTERM, so that whatever it started ends with it.
        let _ = Command::new("kill").arg(self.child.id().to_string()).status();
        let until = Instant::now() + Duration::from_secs(5);
        while Instant::now() < until && matches!(self.child.try_wait(), Ok(None)) {
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Running {
    /// CPU time of each part so far.
    pub fn used(&self) -> Result<Vec<(&'static str, Duration)>, String> {
        let one = |(name, pids): &(&'static str, Vec<u32>)| {
            cpu::used_by(pids).map(|used| (*name, used)).map_err(|e| format!("CPU time of {name}: {e}"))
        };
        self.parts.iter().map(one).collect()
    }

    /// The process of each node of a rack, and where it tells of itself.
    pub fn nodes(&self) -> Vec<(u32, String)> {
        let pids = self.parts.iter().find(|(name, _)| *name == "cc-node").map(|(_, pids)| pids.as_slice());
        pids.unwrap_or_default().iter().copied().zip(self.admins.iter().cloned()).collect()
    }

    /// Resident memory of each part in octets.
    pub fn resident(&self) -> Result<Vec<(&'static str, u64)>, String> {
        let one = |(name, pids): &(&'static str, Vec<u32>)| {
            cpu::resident(pids).map(|octets| (*name, octets)).map_err(|e| format!("memory of {name}: {e}"))
        };
        self.parts.iter().map(one).collect()
    }
}

fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|e| format!("{text}: {e}"))
}

pub fn start(subject: Subject, places: &Places) -> Result<Running, String> {
    match subject {
        Subject::Relay => relay(places),
        Subject::Kamailio(work) => kamailio(work, places),
        Subject::Rack { nodes } => rack(nodes, places),
    }
}

fn spawn(command: &mut Command, log: &Path) -> Result<Child, String> {
    let file = std::fs::File::create(log).map_err(|e| format!("{}: {e}", log.display()))?;
    let other = file.try_clone().map_err(|e| e.to_string())?;
    let name = command.get_program().to_string_lossy().into_owned();
    command.stdin(Stdio::null()).stdout(file).stderr(other).spawn().map_err(|e| format!("{name}: {e}"))
}

fn relay(places: &Places) -> Result<Running, String> {
    let mut command = Command::new(places.programs.join("side-by-side"));
    command.args(["relay", RELAY_AT, UAS]);
    let child = spawn(&mut command, &places.scratch.join("relay.log"))?;
    std::thread::sleep(Duration::from_millis(300));
    let parts = vec![("relay", vec![child.id()])];
    Ok(Running { target: address(RELAY_AT)?, child, parts, admins: Vec::new() })
}

/// One child, shared memory for many held calls, the allocator that is meant for speed.
fn kamailio(work: Work, places: &Places) -> Result<Running, String> {
    let config = places.root.join("benches/peers/kamailio/proxy.cfg");
    let mut command = Command::new("kamailio");
    command.arg("-f").arg(config).args(["-l", &format!("udp:{KAMAILIO_AT}"), "-x", "tlsf", "-X", "tlsf"]);
    command.args(["-m", "2048", "-M", "64", "-DD", "-E", "-Y"]).arg(&places.scratch);
    command.args(work.defines());
    let mut child = spawn(&mut command, &places.scratch.join("kamailio.log"))?;
    std::thread::sleep(Duration::from_secs(2));
    if let Ok(Some(status)) = child.try_wait() {
        return Err(format!(
            "kamailio ended at once ({status}); see {}",
            places.scratch.join("kamailio.log").display()
        ));
    }
    let parts = vec![("kamailio", cpu::with_children(child.id()).map_err(|e| e.to_string())?)];
    Ok(Running { target: address(KAMAILIO_AT)?, child, parts, admins: Vec::new() })
}

fn rack(nodes: u16, places: &Places) -> Result<Running, String> {
    let data = places.scratch.join(format!("rack-{nodes}"));
    let _ = std::fs::remove_dir_all(&data);
    let config = places.root.join("deploy/config/bench.yaml");
    let siprack = places.programs.join("siprack");
    let mut command = Command::new(&siprack);
    command.arg("up").arg("--config").arg(config).arg("--data").arg(&data).args(["--nodes", &nodes.to_string()]);
    let child = spawn(&mut command, &places.scratch.join("rack.log"))?;
    let mut running = Running { target: address(VIP)?, child, parts: Vec::new(), admins: Vec::new() };
    let until = Instant::now() + PATIENCE;
    while Instant::now() < until {
        if let Some(services) = ready(&siprack, &data) {
            let of = |kind: &str| services.iter().filter(|s| s.kind == kind).map(|s| s.pid).collect();
            let nodes = services.iter().filter(|s| s.kind == "cc-node");
            running.admins = nodes.map(|s| s.admin.clone()).collect();
            running.parts = vec![("lm-server", of("lm-server")), ("cc-node", of("cc-node"))];
            return Ok(running);
        }
        std::thread::sleep(Duration::from_millis(200));
    }
    Err(format!("the rack was not ready in {PATIENCE:?}; see {}", places.scratch.join("rack.log").display()))
}

struct Service {
    kind: String,
    pid: u32,
    admin: String,
}

/// Every service, once the rack is ready.
fn ready(siprack: &Path, data: &Path) -> Option<Vec<Service>> {
    let output = Command::new(siprack).args(["status", "--json", "--data"]).arg(data).output().ok()?;
    let status: serde_json::Value = serde_json::from_slice(&output.stdout).ok()?;
    if status["ready"] != true {
        return None;
    }
    let word = |service: &serde_json::Value, key: &str| service[key].as_str().map(str::to_string);
    let services = status["services"].as_array()?.iter();
    services
        .map(|s| Some(Service { kind: word(s, "kind")?, pid: s["pid"].as_u64()? as u32, admin: word(s, "admin")? }))
        .collect()
}
