//! The services as child processes: this program runs itself (`siprack serve …`), each child in a process group of its
//! own with its output in a log file.

use super::beacons::{self, Beacons};
use crate::failure::{Failure, exit};
use crate::services::{Kind, Service};
use command_fds::{CommandFdExt, FdMapping};
use common::ids::BootId;
use common::io::fds;
use common::time::{Duration, Time};
use rustix::process::{Pid, Signal, kill_process};
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom};
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

/// Tells a child who started it, so that it can see whether that one still lives.
pub const AGENT_PID: &str = "SIPRACK_AGENT_PID";
/// What every child is told.
pub struct Launch<'a> {
    pub program: &'a Path,
    pub rack_file: &'a Path,
    pub data: &'a Path,
    /// How often an lm-server is to make a beacon.
    pub beacon_period: Duration,
}

/// One running child.
pub struct Running {
    child: Child,
    /// Of an lm-server that has not been given up.
    beacons: Option<Beacons>,
    /// It was killed after so long without a beacon.
    given_up_after: Option<Duration>,
    log: PathBuf,
    /// Where its part of the log begins.
    log_from: u64,
}

impl Launch<'_> {
    /// Starts `service`. Must be called from a thread that lives as long as the agent: the kernel ends a child when the
    /// thread that started it ends.
    pub fn start(
        &self,
        service: &Service,
        boot: BootId,
        sockets: &[(&str, &OwnedFd)],
        log: &Path,
    ) -> Result<Running, Failure> {
        let what =
            |e: &std::io::Error| Failure::new(exit::CANNOT_CREATE, format!("cannot start {}: {e}", service.name));
        let mut options = OpenOptions::new();
        let output = options.create(true).append(true).mode(0o600).open(log).map_err(|e| what(&e))?;
        let log_from = output.metadata().map(|m| m.len()).unwrap_or(0);
        let mut command = Command::new(self.program);
        command
            .arg("serve")
            .arg(service.kind.as_str())
            .args(["--id", &service.id.to_string()])
            .arg("--rack-file")
            .arg(self.rack_file)
            .arg("--data")
            .arg(self.data)
            .args(["--boot", &boot.to_string()])
            .env(AGENT_PID, std::process::id().to_string())
            .env_remove("NOTIFY_SOCKET")
            .env_remove("WATCHDOG_USEC")
            .stdin(Stdio::null())
            .stdout(output.try_clone().map_err(|e| what(&e))?)
            .stderr(output)
            // Ctrl-C goes to the terminal's group: only the agent, which ends its children in order.
            .process_group(0);
        let beacons = match service.kind {
            Kind::LmServer => Some(beacons::channel(self.beacon_period).map_err(|e| what(&e))?),
            Kind::LocationServer | Kind::CcNode => None,
        };
        let mut passed = sockets.to_vec();
        passed.extend(beacons.iter().map(|(_, of_the_child)| (fds::BEACONS, of_the_child)));
        pass(&mut command, &passed).map_err(|e| what(&e))?;
        let child = command.spawn().map_err(|e| what(&e))?;
        let beacons = beacons.map(|(ours, _)| ours);
        Ok(Running { child, beacons, given_up_after: None, log: log.to_path_buf(), log_from })
    }
}

fn pass(command: &mut Command, sockets: &[(&str, &OwnedFd)]) -> Result<(), std::io::Error> {
    let mut mappings = Vec::new();
    for (child_fd, (_, socket)) in (fds::FIRST..).zip(sockets) {
        mappings.push(FdMapping { parent_fd: socket.try_clone()?, child_fd });
    }
    if !mappings.is_empty() {
        command.env(fds::VARIABLE, fds::variable(sockets.iter().map(|(name, _)| *name)));
        command.fd_mappings(mappings).map_err(std::io::Error::other)?;
    }
    Ok(())
}

impl Running {
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// How it ended, if it has, and by which signal, if by one.
    pub fn ended(&mut self) -> Option<(String, Option<i32>)> {
        match self.child.try_wait() {
            Ok(None) => None,
            Ok(Some(status)) => {
                let how = match self.given_up_after {
                    Some(silence) => {
                        format!("{}: it had sent no beacon for {} ms", describe(status), silence.as_millis())
                    }
                    None => describe(status),
                };
                Some((how, status.signal()))
            }
            Err(e) => Some((format!("lost: {e}"), None)),
        }
    }

    /// Kills it if it is an lm-server whose beacons have stopped; after how long, said once. To be asked every 50 ms.
    pub fn give_up_if_silent(&mut self, now: Time) -> Option<Duration> {
        let silence = self.beacons.as_mut()?.silent_for(now)?;
        (self.beacons, self.given_up_after) = (None, Some(silence));
        // SIGTERM would wait for a process that does not run.
        self.kill();
        Some(silence)
    }

    pub fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    pub fn kill(&self) {
        self.signal(Signal::KILL);
    }

    fn signal(&self, signal: Signal) {
        // A child that has ended but is not reaped yet still has its number, so this never hits a stranger.
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            let _ = kill_process(pid, signal);
        }
    }

    /// The last lines that it wrote.
    pub fn last_words(&self) -> Vec<String> {
        let read = || -> std::io::Result<String> {
            let mut file = File::open(&self.log)?;
            let end = file.metadata()?.len();
            file.seek(SeekFrom::Start(self.log_from.max(end.saturating_sub(4096))))?;
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes)?;
            Ok(String::from_utf8_lossy(&bytes).into_owned())
        };
        let text = read().unwrap_or_default();
        let lines: Vec<&str> = text.lines().filter(|l| !l.trim().is_empty()).collect();
        lines[lines.len().saturating_sub(5)..].iter().map(|l| l.chars().filter(|c| !c.is_control()).collect()).collect()
    }
}

fn describe(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("ended with exit code {code}"),
        (None, Some(signal)) => format!("was killed by signal {signal}"),
        (None, None) => "ended".into(),
    }
}
