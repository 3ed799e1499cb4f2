//! `siprack drill kill`: looks whether the rack can bear it, gives the drill Call-IDs that are the node's and users whom
//! nobody has registered, drives it by sockets, and kills the node's process in the middle of it.

use super::client::{Client, escaped};
use super::load::{address_towards, run_number};
use super::terminal::print;
use super::watch;
use crate::args::{Kill, Login};
use crate::draining::node_named;
use crate::drill::{self, Charges, Drill, Findings, Half, Out, Plan, Side, State};
use crate::failure::{Failure, exit};
use crate::overview;
use common::config::Rack;
use common::io::clock::Clock;
use common::io::poll;
use common::io::udp::{self, Receiver, SendBatch};
use common::time::{Duration, Time};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::fs::File;
use std::io::{BufRead, IsTerminal, Read, Seek, SeekFrom, Write};
use std::net::UdpSocket;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;
use std::time::Instant;

/// A rack on which a drill has just been run is ready again within this.
const READY_PATIENCE: Duration = Duration::from_secs(15);
/// Between two questions about it.
const LOOK: Duration = Duration::from_millis(100);
/// Between two questions whether the node is out of the table, and how long they are asked.
const STEP: Duration = Duration::from_millis(1);
const DETECTION_PATIENCE: Duration = Duration::from_secs(15);
/// Call-IDs tried for each that is wanted: with 64 nodes one in 64 is the node's.
const TRIES: usize = 2000;
/// CDRs are in their files within this; and a second one of a call is there by this.
const CDR_PATIENCE: Duration = Duration::from_secs(5);
const CDR_SETTLES: Duration = Duration::from_secs(1);
/// Longest datagram that is read.
const DATAGRAM: usize = 16 * 1024;

pub fn kill(args: &Kill) -> Result<u8, Failure> {
    let findings = Hand::new(args)?.run().map_err(|why| cannot(&why))?;
    print(&if args.asking.json { findings.json().to_string() } else { findings.text() })?;
    Ok(if findings.lost() == 0 { 0 } else { exit::FAILED })
}

/// The drill could not be run: as when no rack answers.
fn cannot(why: &str) -> Failure {
    Failure::new(exit::NO_RACK, why)
}

/// The node that is to die, and what is known of it before.
struct Victim {
    id: u16,
    pid: u32,
    /// Of its process, as the load manager names it.
    boot: Value,
}

/// Everything that a drill takes.
struct Hand<'a> {
    args: &'a Kill,
    client: Client,
    clock: Clock,
    rack: Rack,
    victim: Victim,
    /// The nodes whose CDRs stand on this machine: all, or none is looked at.
    cdrs: Vec<(PathBuf, u64)>,
}

impl<'a> Hand<'a> {
    fn new(args: &'a Kill) -> Result<Hand<'a>, Failure> {
        let client = Client::at(&args.asking.at);
        // The rack file stays behind when a rack ends; only a running agent answers this.
        client.status()?;
        let rack = client.rack().map_err(|failure| cannot(&failure.message))?;
        let known: Vec<u16> = rack.cc_nodes.iter().map(|node| node.id.0).collect();
        let id = node_named(&args.node, &known).map_err(|why| cannot(&why))?;
        let agent = ready(&client)?;
        let here = |id: u16| {
            let rows = agent["services"].as_array().into_iter().flatten();
            rows.filter(|row| row["kind"] == "cc-node").find(|row| row["id"] == id).cloned()
        };
        let row = here(id).ok_or_else(|| cannot(&format!("cc-node {id} does not run on this machine")))?;
        let pid = row["pid"].as_u64().and_then(|pid| u32::try_from(pid).ok());
        let pid = pid.ok_or_else(|| cannot(&format!("no process of cc-node {id} runs")))?;
        let boot = stands(&client, id)?;
        let file = |id: &u16| args.asking.at.data.join(format!("cc-node-{id}/cdr.jsonl"));
        let all_here = known.iter().all(|id| here(*id).is_some());
        let files = known.iter().filter(|_| all_here).map(file);
        let cdrs = files.map(|path| (path.clone(), std::fs::metadata(&path).map_or(0, |m| m.len()))).collect();
        Ok(Hand { args, client, clock: Clock::new(), rack, victim: Victim { id, pid, boot }, cdrs })
    }

    fn run(&self) -> Result<Findings, String> {
        self.warn()?;
        let (lines, plan, epoch) = self.plan()?;
        let mut stage = Stage { clock: self.clock, lines, drill: Drill::new(&plan), out: Vec::new() };
        let built = stage.build().and_then(|()| self.still_stands(epoch));
        if let Err(why) = built {
            stage.leave();
            return Err(why);
        }
        self.say(&format!("cc-node {} (process {}) is killed", self.victim.id, self.victim.pid))?;
        let killed = self.kill(&mut stage);
        let outcome = killed.and_then(|detected| {
            stage.until(|state| *state == State::Proved, None)?;
            let charges = self.charges(&mut stage)?;
            let detected = detected.join().ok().flatten();
            Ok(stage.drill.findings(self.victim.id, detected, charges.as_ref()))
        });
        stage.leave();
        outcome
    }

    /// For people, what is under way.
    fn say(&self, text: &str) -> Result<(), String> {
        if !self.args.asking.json {
            print(text).map_err(|failure| failure.message)?;
        }
        Ok(())
    }

    /// Other people's calls are in danger if something is wrong: somebody must want that.
    fn warn(&self) -> Result<(), String> {
        let calls = |node| {
            let status = self.client.node_status(node).ok().and_then(|answer| answer.good().ok());
            status.as_ref().and_then(overview::calls).unwrap_or(0)
        };
        let of_all: u64 = self.rack.cc_nodes.iter().map(calls).sum();
        let of_it: u64 = self.rack.cc_nodes.iter().filter(|node| node.id.0 == self.victim.id).map(calls).sum();
        if of_all == 0 || self.args.yes {
            return Ok(());
        }
        let id = self.victim.id;
        let what =
            format!("the rack carries calls that are not the drill's: {of_all}, of which cc-node {id} holds {of_it}");
        if !std::io::stdin().is_terminal() {
            return Err(format!("{what}; --yes kills it all the same"));
        }
        // Standard output may be read by a program.
        let _ = write!(std::io::stderr(), "siprack: {what}. Kill it? [y/N] ");
        let mut answer = String::new();
        let read = std::io::stdin().lock().read_line(&mut answer);
        match read.is_ok() && matches!(answer.trim(), "y" | "Y" | "yes") {
            true => Ok(()),
            false => Err("nothing was killed".into()),
        }
    }

    /// Sockets and plan, and the epoch under which all Call-IDs are the node's.
    fn plan(&self) -> Result<(Lines, Plan, u64), String> {
        let listener = self.rack.listeners.first().ok_or("the rack has no listener")?;
        let vip = listener.socket_address();
        let domain = self.rack.default_domain().ok_or("the rack has no domain")?.name.clone();
        let users = self.users(&domain)?;
        let lines = Lines::towards(vip).map_err(|e| format!("no socket towards {vip}: {e}"))?;
        let seed = run_number();
        let (mut call_ids, mut epoch) = (Vec::new(), None);
        for call_id in drill::call_ids(seed).take(self.args.calls as usize * TRIES) {
            let (taker, under) = self.explain(&call_id)?;
            if *epoch.get_or_insert(under) != under {
                return Err("the placement changed while the drill looked for Call-IDs; run it again".into());
            }
            if taker == Some(u64::from(self.victim.id)) {
                call_ids.push(call_id);
            }
            if call_ids.len() as u64 == self.args.calls {
                let addresses = lines.addresses().map_err(|e| format!("no address of a socket: {e}"))?;
                let plan = Plan { vip, domain, users, call_ids, lines: addresses, seed };
                return Ok((lines, plan, under));
            }
        }
        Err(format!("cc-node {} takes next to no new calls", self.victim.id))
    }

    /// Two users whom nobody has registered: other phones of theirs would ring.
    fn users(&self, domain: &str) -> Result<[Login; 2], String> {
        let mut free = Vec::new();
        let mut taken = Vec::new();
        for login in drill::phones(&self.rack, &self.args.phones)? {
            let aor = format!("{}@{domain}", login.user);
            let path = format!("/v1/registrations/{}", escaped(&aor));
            let answer = self.client.api_get(&path).map_err(|failure| failure.message)?;
            match answer.status {
                404 => free.push(login),
                _ => drop(answer.good().map_err(|failure| failure.message).map(|_| taken.push(aor))?),
            }
            if let [_, _] = free[..] {
                break;
            }
        }
        <[Login; 2]>::try_from(free).map_err(|_| {
            let taken = taken.join(", ");
            format!(
                "phones are registered as {taken}, and would ring; give two subscribers that nobody uses: \
                 --phone USER:PASSWORD --phone USER:PASSWORD"
            )
        })
    }

    /// Who takes a new call with this Call-ID, and under which epoch.
    fn explain(&self, call_id: &str) -> Result<(Option<u64>, u64), String> {
        let path = format!("/explain?call_id={}", escaped(call_id));
        let answer = self.client.load_manager(&path).and_then(|answer| answer.good());
        let answer = answer.map_err(|failure| failure.message)?;
        let epoch = answer["epoch"].as_u64().ok_or("the load manager's answer is of another version")?;
        Ok((answer["acts"].as_u64(), epoch))
    }

    fn still_stands(&self, epoch: u64) -> Result<(), String> {
        match self.explain("drill")? {
            (_, now) if now == epoch => Ok(()),
            _ => Err("the placement changed while the drill brought its calls into place; run it again".into()),
        }
    }

    /// The moment: half of what is to be under way, the kill, the other half. What is returned looks for the node in the
    /// load manager's table.
    fn kill(&self, stage: &mut Stage) -> Result<JoinHandle<Option<Time>>, String> {
        let (id, pid) = (self.victim.id, self.victim.pid);
        let process = i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or("the agent names no process")?;
        let table = Table::of(&self.client, &self.victim)?;
        stage.drill.fire(self.clock.now(), Half::Before, &mut stage.out);
        stage.flush();
        kill_process(process, Signal::KILL)
            .map_err(|e| format!("cc-node {id} (process {pid}) cannot be killed: {e}"))?;
        let died = self.clock.now();
        let clock = self.clock;
        let looks = std::thread::Builder::new().name("table".into()).spawn(move || table.without(clock, died));
        stage.drill.fire(self.clock.now(), Half::Behind, &mut stage.out);
        stage.flush();
        stage.drill.died(died);
        looks.map_err(|e| format!("cannot start a thread: {e}"))
    }

    /// What was added to the CDR files since the drill began; none if they are not all on this machine.
    fn charges(&self, stage: &mut Stage) -> Result<Option<Charges>, String> {
        if self.cdrs.is_empty() {
            return Ok(None);
        }
        let begun = self.clock.now();
        loop {
            let mut charges = Charges::default();
            for (path, from) in &self.cdrs {
                charges.read(&added(path, *from).map_err(|e| format!("{}: {e}", path.display()))?);
            }
            let since = self.clock.now().since(begun);
            if since > CDR_PATIENCE || since > CDR_SETTLES && stage.drill.is_charged(&charges) {
                return Ok(Some(charges));
            }
            // Phones still answer what is repeated.
            let pause = self.clock.now() + LOOK;
            stage.until(|_| false, Some(pause))?;
        }
    }
}

/// What the agent says once all is as it should be.
fn ready(client: &Client) -> Result<Value, Failure> {
    let begun = Instant::now();
    loop {
        let agent = client.status()?;
        if agent["ready"] == true {
            return Ok(agent);
        }
        if begun.elapsed() > READY_PATIENCE {
            let missing = agent["missing"].as_array().into_iter().flatten().filter_map(Value::as_str);
            let missing: String = missing.map(|line| format!("\n  {line}")).collect();
            return Err(cannot(&format!("the rack is not ready, so no node of it should die on purpose:{missing}")));
        }
        std::thread::sleep(LOOK);
    }
}

/// The boot id of a node that takes calls, in a rack where another node can go on with them.
fn stands(client: &Client, id: u16) -> Result<Value, Failure> {
    let status = client.load_manager("/status").and_then(|answer| answer.good());
    let status = status.map_err(|failure| cannot(&failure.message))?;
    let nodes = status["nodes"].as_array().map_or(&[][..], Vec::as_slice);
    let node = nodes.iter().find(|node| node["id"] == id);
    let state = node.map_or("unknown", |node| node["state"].as_str().unwrap_or("unknown"));
    if state != "started" {
        return Err(cannot(&format!("cc-node {id} is {state}: it has to be started to have calls of the drill")));
    }
    if !nodes.iter().any(|node| node["id"] != id && node["placed"] == true) {
        return Err(cannot(&format!("cc-node {id} is the only one: nobody could go on with its calls")));
    }
    Ok(node.map_or(Value::Null, |node| node["boot"].clone()))
}

fn added(path: &Path, from: u64) -> std::io::Result<String> {
    let mut file = match File::open(path) {
        // It has answered no call yet.
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(String::new()),
        file => file?,
    };
    file.seek(SeekFrom::Start(from))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The load manager's table, in which the dead node stands until its death is known.
struct Table {
    http: ureq::Agent,
    url: String,
    id: u16,
    boot: Value,
}

impl Table {
    fn of(client: &Client, victim: &Victim) -> Result<Table, String> {
        let url = client.of_load_manager("/status").map_err(|failure| failure.message)?;
        Ok(Table { http: watch::client(Duration::from_secs(1)), url, id: victim.id, boot: victim.boot.clone() })
    }

    /// When that process was seen to be out of it.
    fn without(self, clock: Clock, since: Time) -> Option<Time> {
        while clock.now().since(since) < DETECTION_PATIENCE {
            let answer = self.http.get(&self.url).call();
            let status = answer.ok().and_then(|mut answer| answer.body_mut().read_json::<Value>().ok());
            let node =
                status.as_ref().and_then(|status| status["nodes"].as_array()?.iter().find(|n| n["id"] == self.id));
            if node.is_some_and(|node| node["placed"] == false || node["boot"] != self.boot) {
                return Some(clock.now());
            }
            std::thread::sleep(STEP);
        }
        None
    }
}

/// A socket for the callers, one for the phones that are called, and one for the other phones of forked calls.
struct Lines {
    sockets: [UdpSocket; 3],
    receiver: Receiver,
    batches: [SendBatch; 3],
}

impl Lines {
    fn towards(vip: std::net::SocketAddr) -> std::io::Result<Lines> {
        let own = std::net::SocketAddr::new(address_towards(vip)?, 0);
        let sockets = [udp::bind(own, false)?, udp::bind(own, false)?, udp::bind(own, false)?];
        let batches = [SendBatch::new(), SendBatch::new(), SendBatch::new()];
        Ok(Lines { sockets, receiver: Receiver::with_size(DATAGRAM), batches })
    }

    fn addresses(&self) -> std::io::Result<[std::net::SocketAddr; 3]> {
        let [a, b, c] = &self.sockets;
        Ok([a.local_addr()?, b.local_addr()?, c.local_addr()?])
    }
}

/// The drill with its sockets.
struct Stage {
    clock: Clock,
    lines: Lines,
    drill: Drill,
    out: Vec<Out>,
}

impl Stage {
    fn build(&mut self) -> Result<(), String> {
        self.drill.begin(self.clock.now(), &mut self.out);
        self.until(|state| *state == State::Ready, None)
    }

    /// Takes calls and bindings back, as far as the rack still hears of it. What was found counts all the same.
    fn leave(&mut self) {
        self.drill.leave(self.clock.now(), &mut self.out);
        if let Err(why) = self.until(|state| *state == State::Over, None) {
            let _ =
                writeln!(std::io::stderr(), "siprack: the drill's bindings end by themselves in a few minutes: {why}");
        }
    }

    /// Runs until the drill stands there, or until this time.
    fn until(&mut self, done: impl Fn(&State) -> bool, end: Option<Time>) -> Result<(), String> {
        let mut ready = Vec::new();
        loop {
            let now = self.clock.now();
            self.drill.tick(now, &mut self.out)?;
            self.flush();
            if done(self.drill.state()) || end.is_some_and(|end| now >= end) {
                return Ok(());
            }
            let due = [self.drill.next_due(), end].into_iter().flatten().min();
            let patience = due.map_or(LOOK, |due| due.since(now).min(LOOK));
            let fds = self.lines.sockets.each_ref().map(AsFd::as_fd);
            poll::readable(&fds, patience, &mut ready).map_err(|e| format!("the phones' sockets: {e}"))?;
            for line in Side::ALL.into_iter().filter(|line| ready.get(*line as usize) == Some(&true)) {
                self.hear(line)?;
            }
        }
    }

    fn hear(&mut self, line: Side) -> Result<(), String> {
        let Lines { sockets, receiver, .. } = &mut self.lines;
        receiver.recv(&sockets[line as usize]).map_err(|e| format!("the phones' sockets: {e}"))?;
        let now = self.clock.now();
        for datagram in receiver.iter() {
            let bytes = bytes::Bytes::copy_from_slice(datagram.bytes);
            self.drill.handle(now, line, datagram.from, bytes, &mut self.out)?;
        }
        self.flush();
        Ok(())
    }

    /// What the kernel does not take is lost, as on any network: the phones repeat it.
    fn flush(&mut self) {
        for Out { line, to, bytes } in self.out.drain(..) {
            self.lines.batches[line as usize].push(to, &[], &bytes);
        }
        for (batch, socket) in self.lines.batches.iter_mut().zip(&self.lines.sockets) {
            if !batch.is_empty() {
                batch.flush(socket);
            }
        }
    }
}
