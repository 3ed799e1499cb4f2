//! `siprack up`: the agent. Opens the sockets, starts the services of this machine as child processes, restarts those
//! that die, kills an lm-server that hangs, says READY when all are started and level, and ends all of them when it is told
//! to end.

use super::children::{Launch, Running};
use super::in_hand::Hands;
use super::open_sockets::{self, Passed};
use super::signals::{Event, Signals};
use super::state_directory::StateDirectory;
use super::status_port::{self, SharedBoard};
use super::terminal::{print_lines, say};
use super::{farewell, rack_file, systemd, watch};
use crate::args::Up;
use crate::failure::{Failure, exit};
use crate::readiness::{Board, Watched};
use crate::services::{self, Kind, Service};
use crate::supervisor::{Effect, Index, Input, Supervisor};
use common::config::Rack;
use common::ids::{BootId, NodeId};
use common::keys::Keys;
use common::time::{Duration, Time};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, Mutex};
use std::time::Instant;

/// The longest sleep of the agent: children are looked at, and an lm-server's pulse is felt, at least this often.
const TURN: Duration = Duration::from_millis(50);
const READY_WITHIN: Duration = Duration::from_secs(60);

/// Runs until it is told to end; 0 then.
pub fn run(args: &Up) -> Result<u8, Failure> {
    let (written, file) = rack_file::read(&args.source)?;
    let rack = written.expand();
    let services = services::of_this_machine(&rack, open_sockets::is_here);
    if services.is_empty() {
        let message = format!(
            "{file}: no server of rack `{}` has an address of this machine; `ip addr` shows those it has",
            rack.name
        );
        return Err(Failure::new(exit::NOT_OUR_ADDRESS, message));
    }
    let directory = StateDirectory::open(&args.at.data, &written)?;
    let wanted = services::sockets(&rack, &services, written.one_machine.as_ref().map(|one| one.base_port));
    let passed = open_sockets::open(&wanted)?;
    let mut agent = Agent::new(rack, services, directory, passed)?;
    agent.introduce(&file);
    let (events, ended) = agent.start_threads()?;
    let done = agent.run(&events);
    ended.store(true, Ordering::Relaxed);
    agent.tidy_up();
    done
}

struct Agent {
    rack: Rack,
    /// They follow those of the services (`watch`).
    keys: Arc<Keys>,
    services: Vec<Service>,
    directory: StateDirectory,
    passed: Vec<Passed>,
    hands: Hands,
    program: PathBuf,
    rack_file: PathBuf,
    data: PathBuf,
    origin: Instant,
    supervisor: Supervisor,
    children: Vec<Option<Running>>,
    board: SharedBoard,
    announced: Announced,
}

/// What has been said to the terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Announced {
    Nothing,
    /// Still not ready when this much time had gone.
    Late(Duration),
    Ready,
    /// It was ready, and then something died.
    Broken,
}

impl Agent {
    fn new(
        rack: Rack,
        services: Vec<Service>,
        directory: StateDirectory,
        passed: Vec<Passed>,
    ) -> Result<Agent, Failure> {
        let keys = Arc::new(Keys::derive(&directory.key(&rack)?));
        let absolute = |path: &Path| {
            std::path::absolute(path).map_err(|e| Failure::new(exit::CANNOT_CREATE, format!("{}: {e}", path.display())))
        };
        let data = absolute(directory.path())?;
        let mut for_services = rack.clone();
        if rack.key.is_none() {
            for_services.key_file = Some(absolute(&directory.key_file(&rack))?);
        }
        let text = for_services.to_json().map_err(|e| Failure::new(exit::CONFIG, format!("the expanded rack: {e}")))?;
        let rack_file = absolute(&directory.write_private("run/rack.json", &text)?)?;
        let program = std::env::current_exe()
            .map_err(|e| Failure::new(exit::FAILED, format!("cannot find this program's own file: {e}")))?;
        let watched = |service: &Service| Watched {
            service: service.clone(),
            pid: None,
            boot: 0,
            restarts: 0,
            seen: None,
            trouble: String::new(),
        };
        let board = Board {
            services: services.iter().map(watched).collect(),
            nodes: rack.cc_nodes.iter().map(|n| u64::from(n.id.0)).collect(),
            level_before: None,
        };
        Ok(Agent {
            keys,
            supervisor: Supervisor::new(services.len(), Time(0)),
            hands: Hands::open(&rack, &services)?,
            children: services.iter().map(|_| None).collect(),
            board: Arc::new(Mutex::new(board)),
            announced: Announced::Nothing,
            origin: Instant::now(),
            rack,
            services,
            directory,
            passed,
            program,
            rack_file,
            data,
        })
    }

    fn introduce(&self, file: &str) {
        say(&format!("rack `{}` from {file}, process {}", self.rack.name, std::process::id()));
        say(&format!(
            "state in {}, the services' logs in {}/log",
            self.directory.path().display(),
            self.directory.path().display()
        ));
    }

    /// Signals and the status port in one thread, the watch in another.
    fn start_threads(&self) -> Result<(Receiver<Event>, Arc<AtomicBool>), Failure> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|e| Failure::new(exit::FAILED, format!("cannot start the agent's runtime: {e}")))?;
        let (signals, (listener, address)) =
            runtime.block_on(async { Ok::<_, Failure>((Signals::register()?, status_port::bind().await?)) })?;
        self.write_agent_file(address)?;
        let (sender, events) = sync_channel(64);
        let board = Arc::clone(&self.board);
        thread("agent", move || {
            runtime.block_on(async {
                tokio::select! {
                    () = signals.pass_to(sender) => {}
                    () = status_port::serve(listener, board) => {}
                }
            });
        })?;
        let ended = Arc::new(AtomicBool::new(false));
        let (board, keys, end) = (Arc::clone(&self.board), Arc::clone(&self.keys), Arc::clone(&ended));
        thread("watch", move || watch::run(&board, &keys, &end))?;
        Ok((events, ended))
    }

    /// Where `siprack status` finds this agent.
    fn write_agent_file(&self, address: SocketAddr) -> Result<(), Failure> {
        let text = serde_json::json!({ "pid": std::process::id(), "address": address, "rack": self.rack.name });
        self.directory.write_private("run/agent.json", &text.to_string()).map(drop)
    }

    fn run(&mut self, events: &Receiver<Event>) -> Result<u8, Failure> {
        let mut effects = Vec::new();
        loop {
            let now = self.now();
            self.supervisor.tick(now, &mut effects);
            self.carry_out(&mut effects)?;
            if self.supervisor.is_done() {
                say("all services have ended");
                return Ok(0);
            }
            let sleep = self.supervisor.next_due().map_or(TURN, |due| due.since(now).min(TURN));
            if let Ok(Event::Stop) = events.recv_timeout(sleep) {
                self.stop(&mut effects);
            }
            self.look_after_children(&mut effects);
            if !self.supervisor.is_stopping() {
                self.kill_the_silent();
                self.announce();
                systemd::alive();
            }
        }
    }

    fn stop(&mut self, effects: &mut Vec<Effect>) {
        say(if self.supervisor.is_stopping() {
            "ending everything now"
        } else {
            "ending all services (again: at once)"
        });
        systemd::stopping();
        self.supervisor.handle(self.now(), Input::Stop, effects);
    }

    fn carry_out(&mut self, effects: &mut Vec<Effect>) -> Result<(), Failure> {
        let mut pending = std::mem::take(effects);
        for effect in pending.drain(..) {
            match effect {
                Effect::Start(i) => self.start(i, effects)?,
                Effect::Waits(i, wait) if !wait.is_zero() => {
                    say(&format!("{} will be started again in {} ms", self.services[i].name, wait.as_millis()));
                }
                Effect::Waits(..) => {}
                Effect::Terminate(i) => self.children[i].iter().for_each(Running::terminate),
                Effect::Kill(i) => self.children[i].iter().for_each(Running::kill),
            }
        }
        Ok(())
    }

    fn start(&mut self, i: Index, effects: &mut Vec<Effect>) -> Result<(), Failure> {
        let boot = self.directory.draw_boot_id()?;
        let service = &self.services[i];
        let of_it = self.passed.iter().filter(|p| p.service == service.name);
        let of_it = of_it.map(|p| (p.name.as_str(), &p.socket));
        let sockets: Vec<_> = of_it.chain(self.hands.of(i)).collect();
        let beacon_period = Duration::from_millis(u64::from(self.rack.heartbeat.period_ms));
        let launch = Launch { program: &self.program, rack_file: &self.rack_file, data: &self.data, beacon_period };
        let started = launch.start(service, boot, &sockets, &self.directory.log_of(&service.name));
        let mut board = status_port::read(&self.board);
        let watched = &mut board.services[i];
        watched.restarts += u32::from(watched.boot > 0);
        watched.boot = boot.0;
        let now = Time(self.origin.elapsed().as_micros() as u64);
        match started {
            Ok(child) => {
                say(&format!("{} started, process {}, http://{}", service.name, child.pid(), service.admin));
                watched.pid = Some(child.pid());
                self.children[i] = Some(child);
                drop(board);
                self.supervisor.handle(now, Input::Started(i), effects);
            }
            Err(failure) => {
                say(&failure.message);
                watched.trouble = failure.message;
                drop(board);
                self.supervisor.handle(now, Input::Ended(i), effects);
            }
        }
        Ok(())
    }

    /// Reaps those that have ended and tells whom it concerns.
    fn look_after_children(&mut self, effects: &mut Vec<Effect>) {
        for i in 0..self.children.len() {
            let Some(child) = &mut self.children[i] else { continue };
            let Some((how, signal)) = child.ended() else { continue };
            let (pid, words) = (child.pid(), child.last_words());
            self.children[i] = None;
            let boot = self.mark_ended(i, &how);
            let suspects = self.hands.ended(i, signal);
            if !self.supervisor.is_stopping() {
                self.mourn(i, boot, &format!("{} (process {pid}) {how}", self.services[i].name), &words);
                if suspects > 0 {
                    say(&format!("ALARM: it had {suspects} of its messages in hand; they are not handled again"));
                }
            }
            self.supervisor.handle(self.now(), Input::Ended(i), effects);
        }
    }

    /// An lm-server that hangs would keep the VIP silent for as long as it does.
    fn kill_the_silent(&mut self) {
        let now = self.now();
        for (service, child) in self.services.iter().zip(&mut self.children) {
            if let Some(silence) = child.as_mut().and_then(|child| child.give_up_if_silent(now)) {
                let (name, ms) = (&service.name, silence.as_millis());
                say(&format!("ALARM: {name} has sent no beacon for {ms} ms; it is killed and started again"));
            }
        }
    }

    fn mark_ended(&mut self, i: Index, how: &str) -> BootId {
        let mut board = status_port::read(&self.board);
        let watched = &mut board.services[i];
        watched.pid = None;
        watched.seen = None;
        watched.trouble = how.to_string();
        BootId(watched.boot)
    }

    fn mourn(&mut self, i: Index, boot: BootId, what: &str, words: &[String]) {
        let service = &self.services[i];
        if service.kind == Kind::CcNode {
            farewell::announce(&self.rack, &self.keys, NodeId(service.id), boot);
        }
        say(what);
        // After a kill the log has nothing to tell; after an exit it says why.
        if what.contains("exit code") {
            for line in words {
                say(&format!("  {}: {line}", service.name));
            }
        }
        if self.announced == Announced::Ready {
            self.announced = Announced::Broken;
        }
    }

    /// Says READY, once; and what is missing when that takes too long.
    fn announce(&mut self) {
        if self.announced == Announced::Ready {
            return;
        }
        let report = status_port::read(&self.board).report();
        let gone = self.origin.elapsed();
        match self.announced {
            Announced::Nothing | Announced::Late(_) if report.ready => {
                self.announced = Announced::Ready;
                systemd::ready("all services are started and level");
                print_lines(&["READY".to_string()]);
                print_lines(&self.what_next());
            }
            Announced::Broken if report.ready => {
                self.announced = Announced::Ready;
                say("all services are started and level again");
            }
            Announced::Nothing | Announced::Late(_) => {
                let due = match self.announced {
                    Announced::Late(last) => last + READY_WITHIN,
                    _ => READY_WITHIN,
                };
                if gone >= due {
                    self.announced = Announced::Late(due);
                    say(&format!("not ready after {} s; still trying. What is missing:", gone.as_secs()));
                    report.missing.iter().for_each(|line| say(&format!("  {line}")));
                }
            }
            Announced::Broken | Announced::Ready => {}
        }
    }

    fn what_next(&self) -> Vec<String> {
        let at = match self.directory.path() {
            path if path == Path::new("./siprack-data") => String::new(),
            path => format!(" --data {}", path.display()),
        };
        let mut lines = Vec::new();
        for listener in &self.rack.listeners {
            lines.push(format!("  SIP        {} ({})", listener.socket_address(), listener.transport.via_name()));
        }
        if let Some(server) = self.rack.location_servers.first() {
            let token = self.directory.path().join("api.token");
            lines.push(format!("  API        http://{} (token in {})", watch::reachable(server.api), token.display()));
        }
        if let (Some(range), Some(domain)) = (self.rack.subscribers.first(), self.rack.default_domain()) {
            let domain = range.domain.as_ref().unwrap_or(&domain.name);
            lines.push(format!(
                "  phones     {} to {} at {domain}, with the password of the rack file",
                range.first, range.last
            ));
        }
        lines.push(format!("  try it     siprack try{at}          (two built-in phones place a call)"));
        lines.push(format!("  look       siprack status{at}"));
        lines.push("  end        Ctrl-C".to_string());
        lines
    }

    fn now(&self) -> Time {
        Time(self.origin.elapsed().as_micros() as u64)
    }

    /// Nobody shall look for an agent that is gone.
    fn tidy_up(&self) {
        let _ = std::fs::remove_file(self.directory.path().join("run/agent.json"));
    }
}

impl Drop for Agent {
    /// On an error of the agent itself the children must go as well.
    fn drop(&mut self) {
        self.children.iter().flatten().for_each(Running::kill);
    }
}

fn thread(name: &str, body: impl FnOnce() + Send + 'static) -> Result<(), Failure> {
    let spawned = std::thread::Builder::new().name(name.into()).spawn(body);
    spawned.map(drop).map_err(|e| Failure::new(exit::FAILED, format!("cannot start the thread `{name}`: {e}")))
}
