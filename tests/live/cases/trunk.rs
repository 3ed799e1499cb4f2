//! A carrier's trunk played by SIPp: known by its address, it calls a registered user without digest; a user's call to
//! the trunk's prefix goes there.

use crate::Verdict;
use crate::namespaces::Network;
use crate::rack_process::{Rack, rack_file, work_folder};
use crate::sipp::Sipp;
use std::path::Path;
use std::time::Duration;

pub fn run() -> Verdict {
    let folder = work_folder("trunk")?;
    let mut network = Network::new()?;
    let host = network.host("rack", "10.99.0.1")?;
    let clients = network.host("sipp", "10.99.0.20")?;
    let carrier = network.host("trunk", "10.99.0.30")?;
    let stranger = network.host("other", "10.99.0.31")?;
    let config = rack_file(&host, &folder)?;
    let rack = Rack::start(Some(&host), &folder.join("data"), &["--config", &config.to_string_lossy()])?;
    rack.siprack(&["subscriber", "add", "2001@rack.test", "--password", "secret"])?;
    let user =
        write(&folder, "user.csv", "SEQUENTIAL\n2001;[authentication username=2001 password=secret];+442071234567\n")?;
    let inward = write(&folder, "inward.csv", "SEQUENTIAL\n+442070000000;;2001\n")?;
    let vip = Some("10.99.0.1:5060");
    let seconds = Duration::from_secs(40);
    Sipp {
        host: &clients,
        scenario: "register",
        local_port: 5070,
        remote: vip,
        users: Some(&user),
        rate: Some((1, 1)),
        work: &folder,
    }
    .finish(seconds)?;

    {
        let _user = Sipp {
            host: &clients,
            scenario: "answer",
            local_port: 5070,
            remote: None,
            users: None,
            rate: None,
            work: &folder,
        }
        .start()?;
        Sipp {
            host: &carrier,
            scenario: "trunk_call",
            local_port: 5060,
            remote: vip,
            users: Some(&inward),
            rate: Some((5, 10)),
            work: &folder,
        }
        .finish(seconds)?;
        let refused = Sipp {
            host: &stranger,
            scenario: "trunk_call",
            local_port: 5060,
            remote: vip,
            users: Some(&inward),
            rate: Some((1, 1)),
            work: &folder,
        };
        if refused.finish(seconds).is_ok() {
            return Err("a stranger's address was taken for the trunk's".to_string());
        }
    }
    let _trunk = Sipp {
        host: &carrier,
        scenario: "answer",
        local_port: 5060,
        remote: None,
        users: None,
        rate: None,
        work: &folder,
    }
    .start()?;
    Sipp {
        host: &clients,
        scenario: "call",
        local_port: 5080,
        remote: vip,
        users: Some(&user),
        rate: Some((5, 10)),
        work: &folder,
    }
    .finish(seconds)?;
    let cdrs = rack.cdrs().len();
    if cdrs != 20 {
        return Err(format!("20 answered calls left {cdrs} CDRs"));
    }
    rack.stop()?;
    Ok("10 calls in, 10 calls out by prefix, a stranger challenged, 20 CDRs".to_string())
}

fn write(folder: &Path, name: &str, text: &str) -> Result<std::path::PathBuf, String> {
    let path = folder.join(name);
    std::fs::write(&path, text).map_err(|e| format!("{}: {e}", path.display()))?;
    Ok(path)
}
