//! Bad input gets a clear message and exit code, or the right SIP answer; nothing hangs and nothing dies of it.

use crate::Verdict;
use crate::process::{Running, siprack};
use crate::rack_process::{Rack, work_folder};
use std::net::UdpSocket;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// A refused start: what `up` is given, and the words that its message must hold.
struct Refusal<'a> {
    what: &'a str,
    arguments: Vec<String>,
    words: &'a [&'a str],
}

pub fn run() -> Verdict {
    let folder = work_folder("refusals")?;
    let data = folder.join("data");
    let rack = Rack::start(None, &data, &[])?;
    let mut refused = 0;
    for refusal in refusals(&folder, &data)? {
        must_refuse(&refusal)?;
        refused += 1;
    }
    let sent = throw_garbage()?;
    let answers = odd_requests()?;
    rack.wait_ready(Duration::from_secs(5))?;
    rack.siprack(&["try"]).map_err(|e| format!("after the garbage no call works: {e}"))?;
    rack.stop()?;

    // The same data directory under another key, once the rack is down.
    let text = "name: demo\nkey: \"00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff\"\n".to_string()
        + ONE_MACHINE;
    let other_key = write(&folder, "other-key.yaml", &text)?;
    let wrong_key = Refusal { what: "another key", arguments: up(&data, &["--config", &other_key]), words: &["key"] };
    must_refuse(&wrong_key)?;
    Ok(format!(
        "{} starts refused with words, {sent} datagrams of garbage, {answers} odd requests answered",
        refused + 1
    ))
}

const ONE_MACHINE: &str = "listeners:\n  - { address: 127.0.0.1, port: 5060, transport: udp }\n\
     domains:\n  - { name: rack.test, auth: digest, provisioning: closed }\none_machine: { nodes: 3 }\n";

fn refusals<'a>(folder: &Path, data: &Path) -> Result<Vec<Refusal<'a>>, String> {
    let unknown_key = write(folder, "unknown.yaml", &format!("name: demo\nlistners: []\n{ONE_MACHINE}"))?;
    let unknown_trunk = write(
        folder,
        "trunk.yaml",
        &format!("name: demo\n{ONE_MACHINE}routes:\n  - {{ domain: rack.test, prefix: \"+44\", trunk: nowhere }}\n"),
    )?;
    let other_rack = write(folder, "other.yaml", &format!("name: another\n{ONE_MACHINE}"))?;
    let file = write(folder, "a-file", "not a directory")?;
    let fresh = folder.join("fresh");
    let used = folder.join("used");
    std::fs::create_dir_all(&used).map_err(|e| e.to_string())?;
    Ok(vec![
        Refusal {
            what: "a second up on the same data",
            arguments: up(data, &[]),
            words: &["in use by another `siprack up`"],
        },
        Refusal {
            what: "a taken port",
            arguments: up(&fresh, &[]),
            words: &["127.0.0.1:5060", "is taken by another program"],
        },
        Refusal {
            what: "an unknown key",
            arguments: up(&fresh, &["--config", &unknown_key]),
            words: &["unknown.yaml:2", "listeners"],
        },
        Refusal { what: "an unknown trunk", arguments: up(&fresh, &["--config", &unknown_trunk]), words: &["nowhere"] },
        Refusal {
            what: "no such file",
            arguments: up(&fresh, &["--config", "nothing.yaml"]),
            words: &["nothing.yaml"],
        },
        Refusal {
            what: "a wrong override",
            arguments: up(&fresh, &["--set", "heartbeat.period_ms=fast"]),
            words: &["heartbeat.period_ms"],
        },
        Refusal { what: "a file for a directory", arguments: up(Path::new(&file), &[]), words: &["a-file"] },
        Refusal {
            what: "another rack's file on this data",
            arguments: up(data, &["--config", &other_rack]),
            words: &["in use by another `siprack up`"],
        },
    ])
}

fn up(data: &Path, more: &[&str]) -> Vec<String> {
    let mut arguments = vec!["up".to_string(), "--data".to_string(), data.to_string_lossy().into_owned()];
    arguments.extend(more.iter().map(|m| m.to_string()));
    arguments
}

fn must_refuse(refusal: &Refusal) -> Result<(), String> {
    let mut running = Running::start(refusal.what, Command::new(siprack()?).args(&refusal.arguments))?;
    let status = running.wait(Duration::from_secs(10))?;
    std::thread::sleep(Duration::from_millis(50));
    let said = running.output();
    if status.success() || status.code().is_none() || said.contains("panicked") {
        return Err(format!("{}: ended with {status}:\n{said}", refusal.what));
    }
    match refusal.words.iter().find(|word| !said.contains(*word)) {
        Some(word) => Err(format!("{}: the message does not say {word:?}:\n{said}", refusal.what)),
        None => Ok(()),
    }
}

/// Datagrams that are no SIP, or hardly: empty, truncated, oversized, binary. The rack must survive all of them.
fn throw_garbage() -> Result<usize, String> {
    let socket = UdpSocket::bind("127.0.0.1:0").map_err(|e| e.to_string())?;
    let invite = "INVITE sip:1002@rack.test SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:9;branch=z9hG4bKgarbage\r\nFrom: <sip:1001@rack.test>;tag=g\r\n\
                  To: <sip:1002@rack.test>\r\nCall-ID: garbage@test\r\nCSeq: 1 INVITE\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n";
    let mut sent = 0;
    let mut send = |bytes: &[u8]| -> Result<(), String> {
        sent += 1;
        socket.send_to(bytes, "127.0.0.1:5060").map(|_| ()).map_err(|e| e.to_string())
    };
    for length in 0..invite.len() {
        send(&invite.as_bytes()[..length])?;
    }
    let mut seed = 1u64;
    for length in (1..2000).step_by(13) {
        let noise: Vec<u8> = (0..length)
            .map(|_| {
                seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                (seed >> 33) as u8
            })
            .collect();
        send(&noise)?;
    }
    for length in [9_000, 20_000, 60_000] {
        let padding = "a".repeat(length);
        send(invite.replace("Max-Forwards: 70", &format!("X-Long: {padding}\r\nMax-Forwards: 70")).as_bytes())?;
    }
    Ok(sent)
}

/// Requests that are SIP but wrong: each has one right answer.
fn odd_requests() -> Result<usize, String> {
    let socket = UdpSocket::bind("127.0.0.1:0").map_err(|e| e.to_string())?;
    socket.set_read_timeout(Some(Duration::from_secs(2))).map_err(|e| e.to_string())?;
    let local = socket.local_addr().map_err(|e| e.to_string())?;
    let request = |n: u32, start: &str, cseq: &str, extra: &str| {
        format!(
            "{start}\r\nVia: SIP/2.0/UDP {local};rport;branch=z9hG4bKodd{n}\r\nFrom: <sip:1001@rack.test>;tag=o{n}\r\nTo: <sip:x@rack.test>\r\n\
             Call-ID: odd{n}@{local}\r\nCSeq: {cseq}\r\n{extra}Content-Length: 0\r\n\r\n"
        )
    };
    let cases = [
        (request(1, "OPTIONS sip:rack.test SIP/2.0", "1 OPTIONS", "Max-Forwards: 70\r\n"), "200"),
        (request(2, "OPTIONS sip:rack.test SIP/2.0", "1 INVITE", "Max-Forwards: 70\r\n"), "400"),
        (request(3, "OPTIONS sip:1002@rack.test SIP/2.0", "1 OPTIONS", "Max-Forwards: 0\r\n"), "483"),
        (request(4, "OPTIONS sip:1002@rack.test SIP/7.0", "1 OPTIONS", "Max-Forwards: 70\r\n"), "505"),
        (request(5, "INVITE nobodyKnowsThisScheme:x SIP/2.0", "1 INVITE", "Max-Forwards: 70\r\n"), "416"),
        (
            request(
                6,
                "OPTIONS sip:1002@rack.test SIP/2.0",
                "1 OPTIONS",
                "Max-Forwards: 70\r\nProxy-Require: nothing-that-exists\r\n",
            ),
            "420",
        ),
        (request(7, "CANCEL sip:1002@rack.test SIP/2.0", "1 CANCEL", "Max-Forwards: 70\r\n"), "481"),
        (request(8, "REGISTER sip:rack.test SIP/2.0", "1 REGISTER", "Max-Forwards: 70\r\n"), "401"),
    ];
    for (text, wanted) in &cases {
        socket.send_to(text.as_bytes(), "127.0.0.1:5060").map_err(|e| e.to_string())?;
        let mut buffer = [0u8; 8192];
        let first = text.lines().next().unwrap_or_default();
        let length = socket.recv(&mut buffer).map_err(|e| format!("{first}: no answer, {wanted} was due: {e}"))?;
        let answer = String::from_utf8_lossy(&buffer[..length]).lines().next().unwrap_or_default().to_string();
        if !answer.contains(wanted) {
            return Err(format!("{first}: answered {answer:?}, {wanted} was due"));
        }
    }
    Ok(cases.len())
}

fn write(folder: &Path, name: &str, text: &str) -> Result<String, String> {
    let path = folder.join(name);
    std::fs::write(&path, text).map_err(|e| format!("{}: {e}", path.display()))?;
    Ok(path.to_string_lossy().into_owned())
}
