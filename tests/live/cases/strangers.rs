//! Tools that look for weak spots, and the swiss army knife: sipvicious finds no user and no password, sipsak's register,
//! message, flood and random modes get what they deserve. To strangers the rack never sends more packets than it was sent.

use crate::Verdict;
use crate::cases::dialogs::register;
use crate::namespaces::{Host, Network};
use crate::process::{Running, run as run_command};
use crate::rack_process::{Rack, rack_file, work_folder};
use crate::script::{NO_BODY, Script};
use serde_json::Value;
use std::path::Path;
use std::time::Duration;

pub const NEEDS: &[&str] = &["ip", "nft", "sipp", "sipsak", "svmap", "svwar", "svcrack"];

/// UDP at the VIP: packets and bytes.
#[derive(Clone, Copy)]
struct Traffic {
    packets_in: u64,
    bytes_in: u64,
    packets_out: u64,
    bytes_out: u64,
}

pub fn run() -> Verdict {
    let folder = work_folder("strangers")?;
    let mut network = Network::new()?;
    let host = network.host("rack", "10.99.0.1")?;
    let stranger = network.host("sipsak", "10.99.0.20")?;
    let phone = network.host("phone", "10.99.0.21")?;
    let config = rack_file(&host, &folder)?;
    let rack = Rack::start(Some(&host), &folder.join("data"), &["--config", &config.to_string_lossy()])?;
    for user in ["1001", "1002", "1003", "1004", "1005"] {
        rack.siprack(&["subscriber", "add", &format!("{user}@rack.test"), "--password", "secret"])?;
    }
    count_traffic(&host)?;
    scan(&stranger, &folder)?;
    sipsak_as_a_phone(&rack, &stranger)?;
    sipsak_floods(&stranger)?;
    let seen = traffic(&host)?;
    if seen.packets_out > seen.packets_in || seen.bytes_out > 2 * seen.bytes_in {
        return Err(format!(
            "{} packets ({} bytes) in, {} packets ({} bytes) out: an amplifier",
            seen.packets_in, seen.bytes_in, seen.packets_out, seen.bytes_out
        ));
    }
    sipsak_message(&stranger, &phone, &folder)?;
    rack.wait_ready(Duration::from_secs(5))?;
    rack.siprack(&["try", "--caller", "1004:secret", "--callee", "1005:secret"])?;
    rack.stop()?;
    Ok(format!(
        "0 users and 0 passwords found; {} packets in, {} out ({:.2} times the bytes)",
        seen.packets_in,
        seen.packets_out,
        seen.bytes_out as f64 / seen.bytes_in as f64
    ))
}

fn count_traffic(host: &Host) -> Result<(), String> {
    let rules = "add table inet live; add chain inet live in { type filter hook input priority 0; }; \
                 add chain inet live out { type filter hook output priority 0; }; \
                 add rule inet live in iifname eth0 udp dport 5060 counter; \
                 add rule inet live out oifname eth0 udp sport 5060 counter";
    run_command(host.command("nft").arg(rules)).map(|_| ())
}

fn traffic(host: &Host) -> Result<Traffic, String> {
    let text = run_command(host.command("nft").args(["-j", "list", "table", "inet", "live"]))?;
    let listed: Value = serde_json::from_str(&text).map_err(|e| format!("nft: {e}: {text}"))?;
    let counter = |chain: &str, what: &str| {
        let rules = listed["nftables"].as_array().into_iter().flatten().map(|entry| &entry["rule"]);
        let mut counters = rules
            .filter(|rule| rule["chain"] == chain)
            .flat_map(|rule| rule["expr"].as_array().into_iter().flatten())
            .filter_map(|expression| expression["counter"][what].as_u64());
        counters.next().ok_or(format!("no counter in the chain {chain}: {text}"))
    };
    Ok(Traffic {
        packets_in: counter("in", "packets")?,
        bytes_in: counter("in", "bytes")?,
        packets_out: counter("out", "packets")?,
        bytes_out: counter("out", "bytes")?,
    })
}

/// svmap sees that something answers; svwar and svcrack find nothing, by any method and though they are forced.
fn scan(stranger: &Host, folder: &Path) -> Result<(), String> {
    let guesses: String = (0..30).map(|n| format!("guess{n}\n")).collect();
    let dictionary = folder.join("guesses.txt");
    std::fs::write(&dictionary, guesses).map_err(|e| e.to_string())?;
    let dictionary = dictionary.to_string_lossy();
    let vip = "10.99.0.1";
    let users = ["-e", "998-1012"];
    let domain = ["--domain", "rack.test", "--force"];
    let runs: [(&str, Vec<&str>); 7] = [
        ("svmap", vec![vip]),
        ("svwar", [&users[..], &[vip]].concat()),
        ("svwar", [&users[..], &domain, &[vip]].concat()),
        ("svwar", [&users[..], &domain, &["-m", "INVITE", vip]].concat()),
        ("svwar", [&users[..], &domain, &["-m", "OPTIONS", vip]].concat()),
        ("svcrack", vec!["-u", "1001", "-d", &dictionary, "--maximumtime", "2", vip]),
        ("svcrack", vec!["-u", "999", "-d", &dictionary, "--maximumtime", "2", vip]),
    ];
    for (tool, arguments) in runs {
        let mut command = stranger.command(tool);
        let mut running = Running::start(tool, command.env("HOME", folder).args(&arguments))?;
        running.wait(Duration::from_secs(60))?;
        std::thread::sleep(Duration::from_millis(50));
        let said = running.output();
        let wanted = if tool == "svmap" { "10.99.0.1:5060" } else { "found nothing" };
        if !said.contains(wanted) {
            return Err(format!("{tool} {arguments:?} does not say {wanted:?}:\n{said}"));
        }
    }
    Ok(())
}

fn sipsak(stranger: &Host, arguments: &[&str]) -> Result<Option<i32>, String> {
    let mut running = Running::start("sipsak", stranger.command("sipsak").args(arguments))?;
    Ok(running.wait(Duration::from_secs(30))?.code())
}

fn sipsak_as_a_phone(rack: &Rack, stranger: &Host) -> Result<(), String> {
    let contact = "sip:1003@10.99.0.20:5099";
    let usrloc = ["-U", "-C", contact, "-p", "10.99.0.1", "-s", "sip:1003@rack.test", "-u", "1003", "-x", "60", "-a"];
    // Exit codes: 0 all as wished, 2 refused.
    for (what, arguments, wanted) in [
        ("OPTIONS to the VIP", vec!["-s", "sip:10.99.0.1"], 0),
        ("OPTIONS to a user, unknown to us", vec!["-s", "sip:1003@10.99.0.1"], 2),
        ("REGISTER with a wrong password", [&usrloc[..], &["wrong"]].concat(), 2),
    ] {
        let code = sipsak(stranger, &arguments)?;
        if code != Some(wanted) {
            return Err(format!("sipsak, {what}: exit {code:?}, {wanted} was due"));
        }
    }
    if rack.siprack(&["registrations", "--count"])?.trim() != "0" {
        return Err("a wrong password registered".to_string());
    }
    let code = sipsak(stranger, &[&usrloc[..], &["secret"]].concat())?;
    let registered = rack.siprack(&["registrations"])?;
    if code != Some(0) || !registered.contains(contact) {
        return Err(format!("sipsak, REGISTER: exit {code:?}, and the rack has {registered}"));
    }
    Ok(())
}

/// 3,000 OPTIONS as fast as it can, and OPTIONS with more and more octets thrown at random; the rack answers afterwards.
fn sipsak_floods(stranger: &Host) -> Result<(), String> {
    sipsak(stranger, &["-F", "-e", "3000", "-s", "sip:10.99.0.1"])?;
    sipsak(stranger, &["-F", "-e", "3000", "-s", "sip:1003@10.99.0.1"])?;
    for octets in ["2", "8", "20", "60"] {
        sipsak(stranger, &["-R", "-t", octets, "--timer-t1=10", "-s", "sip:1003@10.99.0.1"])?;
    }
    match sipsak(stranger, &["-s", "sip:10.99.0.1"])? {
        Some(0) => Ok(()),
        code => Err(format!("after the floods OPTIONS gets exit {code:?}")),
    }
}

/// Its own message mode crashes in Debian 12 before it sends anything, so it gets the message from a file.
fn sipsak_message(stranger: &Host, phone: &Host, folder: &Path) -> Result<(), String> {
    register(phone, "1002", "5060", "10.99.0.1:5060", folder)?;
    let message = "MESSAGE sip:1002@rack.test SIP/2.0\r\nVia: SIP/2.0/UDP 10.99.0.20:5090;branch=z9hG4bKmessage;rport\r\n\
                   From: <sip:1001@rack.test>;tag=m\r\nTo: <sip:1002@rack.test>\r\nCall-ID: message@live\r\nCSeq: 1 MESSAGE\r\n\
                   Max-Forwards: 70\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello";
    let file = folder.join("message.sip");
    std::fs::write(&file, message).map_err(|e| e.to_string())?;
    let scenario = Script::callee("message").request_with("MESSAGE", &["hello"]).answer("200 OK", true, NO_BODY);
    let mut sipp = phone.command("sipp");
    sipp.arg("-sf").arg(scenario.write(folder)?).args(["-i", &phone.address, "-p", "5060", "-m", "1", "-nostdin"]);
    let mut callee =
        Running::start("sipp message", sipp.current_dir(folder).args(["-timeout", "10", "-timeout_error"]))?;
    std::thread::sleep(Duration::from_millis(200));
    let code =
        sipsak(stranger, &["-f", &file.to_string_lossy(), "-s", "sip:1002@10.99.0.1", "-u", "1001", "-a", "secret"])?;
    let status = callee.wait(Duration::from_secs(15))?;
    if code == Some(0) && status.success() {
        return Ok(());
    }
    Err(format!("sipsak's MESSAGE: exit {code:?}; the callee {status}:\n{}", callee.tail(20)))
}
