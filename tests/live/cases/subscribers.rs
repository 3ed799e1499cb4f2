//! SIPp registers 200 users with digest and makes 500 calls at 50 a second; none may fail, each leaves one CDR.

use crate::Verdict;
use crate::namespaces::Network;
use crate::rack_process::{Rack, rack_file, work_folder};
use crate::sipp::Sipp;
use std::fmt::Write;
use std::path::Path;
use std::time::Duration;

pub const USERS: u32 = 200;
const CALLS: u32 = 500;

pub fn run() -> Verdict {
    let folder = work_folder("subscribers")?;
    let mut network = Network::new()?;
    let host = network.host("rack", "10.99.0.1")?;
    let clients = network.host("sipp", "10.99.0.20")?;
    let config = rack_file(&host, &folder)?;
    let rack = Rack::start(Some(&host), &folder.join("data"), &["--config", &config.to_string_lossy()])?;

    let (import, users, pairs) = write_users(&folder)?;
    rack.siprack(&["import", &import])?;

    let register = Sipp {
        host: &clients,
        scenario: "register",
        local_port: 5070,
        remote: Some("10.99.0.1:5060"),
        users: Some(Path::new(&users)),
        rate: Some((100, USERS)),
        work: &folder,
    };
    register.finish(Duration::from_secs(60))?;
    let count = rack.siprack(&["registrations", "--count"])?;
    if count.trim() != USERS.to_string() {
        return Err(format!("{USERS} users registered, the rack counts {count}"));
    }

    let answer = Sipp {
        host: &clients,
        scenario: "answer",
        local_port: 5070,
        remote: None,
        users: None,
        rate: None,
        work: &folder,
    };
    let _answering = answer.start()?;
    let call = Sipp {
        host: &clients,
        scenario: "call",
        local_port: 5080,
        remote: Some("10.99.0.1:5060"),
        users: Some(Path::new(&pairs)),
        rate: Some((50, CALLS)),
        work: &folder,
    };
    call.finish(Duration::from_secs(90))?;
    let cdrs = rack.cdrs().len();
    if cdrs != CALLS as usize {
        return Err(format!("{CALLS} answered calls left {cdrs} CDRs"));
    }
    rack.stop()?;
    Ok(format!("{USERS} registered, {CALLS} calls, 0 failed, {cdrs} CDRs"))
}

/// The import file, and SIPp's lists of users and of caller-callee pairs.
pub fn write_users(folder: &Path) -> Result<(String, String, String), String> {
    let mut import = String::from("aor,password\n");
    let mut users = String::from("SEQUENTIAL\n");
    let mut pairs = String::from("SEQUENTIAL\n");
    for n in 0..USERS {
        let (user, callee) = (2001 + n, 2001 + (n + USERS / 2) % USERS);
        let _ = writeln!(import, "{user}@rack.test,secret");
        let _ = writeln!(users, "{user};[authentication username={user} password=secret]");
        let _ = writeln!(pairs, "{user};[authentication username={user} password=secret];{callee}");
    }
    let write = |name: &str, text: &str| {
        let path = folder.join(name);
        std::fs::write(&path, text).map_err(|e| format!("{}: {e}", path.display()))?;
        Ok::<_, String>(path.to_string_lossy().into_owned())
    };
    Ok((write("import.csv", &import)?, write("users.csv", &users)?, write("pairs.csv", &pairs)?))
}
