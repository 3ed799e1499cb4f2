//! kill -9 of each process in turn: the agent restarts it, new calls work, and what the location server had
//! acknowledged is all there afterwards.

use crate::Verdict;
use crate::namespaces::{Host, Network};
use crate::rack_process::{Rack, rack_file, work_folder};
use crate::sipp::Sipp;
use std::fmt::Write;
use std::path::Path;
use std::time::Duration;

const USERS: u32 = 100;

pub fn run() -> Verdict {
    let folder = work_folder("healing")?;
    let mut network = Network::new()?;
    let host = network.host("rack", "10.99.0.1")?;
    let clients = network.host("sipp", "10.99.0.20")?;
    let config = rack_file(&host, &folder)?;
    let rack = Rack::start(Some(&host), &folder.join("data"), &["--config", &config.to_string_lossy()])?;
    let (import, users) = write_users(&folder)?;
    rack.siprack(&["import", &import])?;
    let mut healed = String::new();

    for (kind, position) in [("cc-node", 0), ("cc-node", 1), ("cc-node", 2), ("lm-server", 0), ("location-server", 0)] {
        // In the midst of registrations: nothing may fail, and what is acknowledged must survive, whoever died.
        let mut registering = registration(&clients, &folder, &users, 5070, 100).start()?;
        std::thread::sleep(Duration::from_millis(300));
        let killed = rack.kill(kind, position)?;
        let took = rack.wait_healed(kind, position, killed)?;
        let status = registering.wait(Duration::from_secs(60))?;
        if !status.success() {
            return Err(format!("registrations failed across kill -9 of {kind} {position}:\n{}", registering.tail(30)));
        }
        let _ = write!(healed, " {kind} {:.1} s,", took.as_secs_f64());
        rack.siprack(&["try", "--caller", "1001:secret", "--callee", "1002:secret"])
            .map_err(|e| format!("after kill -9 of {kind} {position} no call works: {e}"))?;
    }
    kill_under_registrations(&rack, &clients, &folder, &users)?;
    rack.stop()?;
    Ok(format!("healed:{} {USERS} acknowledged registrations all there", healed.trim_end_matches(',')))
}

/// The location server dies in the middle of registrations; every one that was answered with 200 is there afterwards.
fn kill_under_registrations(rack: &Rack, clients: &Host, folder: &Path, users: &str) -> Result<(), String> {
    let sipp = registration(clients, folder, users, 5071, 50);
    let mut running = sipp.start()?;
    std::thread::sleep(Duration::from_millis(700));
    let killed = rack.kill("location-server", 0)?;
    rack.wait_healed("location-server", 0, killed)?;
    let status = running.wait(Duration::from_secs(60))?;
    if !status.success() {
        return Err(format!("registrations failed across the kill ({status}):\n{}", running.tail(30)));
    }
    let text = rack.siprack(&["registrations", "--count", "--json"])?;
    let counted: serde_json::Value = serde_json::from_str(&text).map_err(|e| format!("{text}: {e}"))?;
    let expected = USERS * 2; // each user has two contacts: ports 5070 and 5071
    if counted["contacts"] != expected {
        return Err(format!("{expected} contacts were acknowledged, the rack counts {text}"));
    }
    Ok(())
}

/// All users register from one port at this rate.
fn registration<'a>(host: &'a Host, work: &'a Path, users: &'a str, local_port: u16, rate: u32) -> Sipp<'a> {
    let remote = Some("10.99.0.1:5060");
    Sipp {
        host,
        scenario: "register",
        local_port,
        remote,
        users: Some(Path::new(users)),
        rate: Some((rate, USERS)),
        work,
    }
}

fn write_users(folder: &Path) -> Result<(String, String), String> {
    let (mut import, mut users) = (String::from("aor,password\n"), String::from("SEQUENTIAL\n"));
    for user in (1001..=1002).chain(3001..3001 + USERS) {
        let _ = writeln!(import, "{user}@rack.test,secret");
        if user > 3000 {
            let _ = writeln!(users, "{user};[authentication username={user} password=secret]");
        }
    }
    let (a, b) = (folder.join("import.csv"), folder.join("users.csv"));
    std::fs::write(&a, import).and_then(|()| std::fs::write(&b, users)).map_err(|e| e.to_string())?;
    Ok((a.to_string_lossy().into_owned(), b.to_string_lossy().into_owned()))
}
