//! Everything outside `io/` and `main.rs` is a deterministic state machine: no clock, socket, file, thread or chance.

use super::sources::{all, report};

const IMPURE: &[&str] = &[
    "Instant::now",
    "SystemTime::now",
    "std::net::UdpSocket",
    "std::net::TcpStream",
    "std::net::TcpListener",
    "std::fs",
    "std::thread",
    "std::process",
    "std::env",
    "tokio::net",
    "tokio::fs",
    "tokio::spawn",
    "tokio::time",
    "getrandom",
    "rand::",
    "thread_rng",
];

const UNBOUNDED: &[&str] = &["unbounded_channel", "unbounded()", "mpsc::channel()"];

#[test]
fn cores_touch_no_clock_socket_file_thread_or_chance() {
    let mut findings = Vec::new();
    for source in all().iter().filter(|s| !s.is_shell()) {
        for (number, line) in source.production() {
            let code = line.split("//").next().unwrap_or_default();
            findings.extend(
                IMPURE
                    .iter()
                    .filter(|word| code.contains(*word))
                    .map(|word| format!("{}:{number}: {word}", source.path)),
            );
        }
    }
    report("only io/ and main.rs may touch the machine:", findings);
}

#[test]
fn every_queue_is_bounded() {
    let mut findings = Vec::new();
    for source in all().iter().filter(|s| !s.path.starts_with("tests/tidy/")) {
        for (number, line) in source.production() {
            let code = line.split("//").next().unwrap_or_default();
            if UNBOUNDED.iter().any(|word| code.contains(word)) {
                findings.push(format!("{}:{number}: {}", source.path, code.trim()));
            }
        }
    }
    report("every queue has a bound:", findings);
}

#[test]
fn unsafe_stands_in_the_sockets_the_tap_and_the_counting_allocator_only() {
    let mut findings = Vec::new();
    for source in all() {
        let allowed = source.path.starts_with("common/src/io/")
            || source.path.contains("counting_allocator")
            || source.path == "tests/live/switch/tap.rs"
            || source.path.starts_with("tests/tidy/");
        for (number, line) in source.text.lines().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            let used = code.contains("unsafe {") || code.contains("unsafe fn") || code.contains("unsafe impl");
            if used && !allowed {
                findings.push(format!("{}:{}", source.path, number + 1));
            }
        }
    }
    report("unsafe belongs to common/src/io/, to the live runs' TAP and to the tests' counting allocator:", findings);
}
