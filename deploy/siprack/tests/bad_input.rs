//! What the tool says when something is wrong: each mistake has a clear message and an exit code, and nothing hangs.

use std::net::UdpSocket;
use std::path::PathBuf;
use std::process::{Command, Output};

/// A directory of its own, gone when the test ends.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Scratch {
        let path = std::env::temp_dir().join(format!("siprack-bad-input-{}-{name}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).expect("a temporary directory");
        Scratch(path)
    }

    fn file(&self, name: &str, text: &str) -> String {
        let path = self.0.join(name);
        std::fs::write(&path, text).expect("written");
        path.display().to_string()
    }

    fn data(&self) -> String {
        self.0.join("data").display().to_string()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn siprack(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_siprack")).args(arguments).output().expect("the tool runs")
}

/// Exit code and what stands on standard error.
fn fails(arguments: &[&str]) -> (Option<i32>, String) {
    let output = siprack(arguments);
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

/// `up` with inside ports that no other rack on this machine uses.
fn up(scratch: &Scratch, more: &[&str]) -> (Option<i32>, String) {
    let data = scratch.data();
    let ports = ["--set", "one_machine.base_port=47000", "--set", "one_machine.api=127.0.0.1:47900"];
    let mut arguments = vec!["up", "--data", &data];
    arguments.extend(ports);
    arguments.extend(more);
    fails(&arguments)
}

#[test]
fn a_bad_rack_file_is_named_with_line_and_key() {
    let scratch = Scratch::new("rack-file");
    let file = scratch.file("rack.yaml", "name: x\nlisteners:\n  - { adress: 127.0.0.1 }\n");
    let (code, said) = fails(&["check", "--config", &file]);
    assert_eq!(code, Some(78));
    assert_eq!(
        said,
        format!("siprack: {file}:3:7: listeners.0.adress: unknown key `adress`; did you mean `address`?\n")
    );
    let (code, said) = fails(&["up", "--config", &file, "--data", &scratch.data()]);
    assert_eq!((code, said.contains("did you mean `address`?")), (Some(78), true), "{said}");
    assert!(!scratch.0.join("data").exists(), "nothing is made for a bad rack");
}

#[test]
fn a_taken_port_is_named_with_its_owner_and_a_way_out() {
    let scratch = Scratch::new("port");
    let other = UdpSocket::bind("127.0.0.1:0").expect("a free port");
    let port = other.local_addr().expect("bound").port();
    let (code, said) = up(&scratch, &["--set", &format!("listeners.0.port={port}")]);
    assert_eq!(code, Some(98));
    for part in
        [format!("UDP 127.0.0.1:{port}"), "SIP listener 0 of lm-server-1".into(), "--set listeners.0.port=".into()]
    {
        assert!(said.contains(&part), "{part} is not in: {said}");
    }
}

#[test]
fn another_racks_directory_and_a_wrong_key_are_refused() {
    let scratch = Scratch::new("identity");
    // A taken port ends the first `up` after the directory was made.
    let other = UdpSocket::bind("127.0.0.1:0").expect("a free port");
    let port = format!("listeners.0.port={}", other.local_addr().expect("bound").port());
    let up = |more: &str| up(&scratch, &["--set", &port, "--set", more]);
    assert_eq!(up("log.level=info").0, Some(98));
    let (code, said) = up("name=other");
    assert_eq!((code, said.contains("belongs to rack `demo`, not to `other`")), (Some(78), true), "{said}");
    let (code, said) = up(&format!("key=\"{}\"", "ab".repeat(32)));
    assert_eq!((code, said.contains("was made with the rack key")), (Some(78), true), "{said}");
}

#[test]
fn without_a_rack_the_questions_say_so() {
    let scratch = Scratch::new("no-rack");
    let data = scratch.data();
    for question in [
        vec!["status"],
        vec!["status", "--json"],
        vec!["try"],
        vec!["explain", "some@call"],
        vec!["subscriber", "list"],
        vec!["registrations", "--count"],
    ] {
        let mut arguments = question.clone();
        arguments.extend(["--data", &data]);
        let (code, said) = fails(&arguments);
        assert_eq!(code, Some(2), "{question:?}: {said}");
        assert!(said.contains("no rack answers") && said.contains("siprack up"), "{question:?}: {said}");
    }
}

#[test]
fn the_deployed_rack_files_pass_the_check() {
    let deploy = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../config");
    for name in ["siprack.yaml", "bench.yaml", "conformance.yaml"] {
        let output = siprack(&["check", "--config", &deploy.join(name).display().to_string()]);
        assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
    }
}
