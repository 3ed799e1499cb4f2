//! baresip phones, driven through their ctrl_tcp module and read by their SIP trace.

use crate::namespaces::Host;
use crate::process::Running;
use std::io::Write;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

const PORT: u16 = 4444;

/// One registered baresip that answers by itself.
pub struct Baresip {
    host: Host,
    pub running: Running,
}

impl Baresip {
    /// Starts it with an account at the VIP and waits until it is registered.
    pub fn start(host: &Host, user: &str, vip: &str, folder: &Path) -> Result<Baresip, String> {
        let home = folder.join(format!("baresip-{user}"));
        std::fs::create_dir_all(&home).map_err(|e| e.to_string())?;
        let config = format!(
            "poll_method epoll\nsip_listen 0.0.0.0:5060\nmodule_path /usr/lib/baresip/modules\naudio_source aubridge,dummy\n\
             audio_player aubridge,dummy\nmodule g711.so\nmodule aubridge.so\nmodule_app account.so\nmodule_app menu.so\n\
             module_app ctrl_tcp.so\nctrl_tcp_listen 127.0.0.1:{PORT}\n"
        );
        let account = format!(
            "<sip:{user}@rack.test>;auth_user={user};auth_pass=secret;outbound=\"sip:{vip}\";answermode=auto;regint=60\n"
        );
        std::fs::write(home.join("config"), config).map_err(|e| e.to_string())?;
        std::fs::write(home.join("accounts"), account).map_err(|e| e.to_string())?;
        std::fs::write(home.join("contacts"), "").map_err(|e| e.to_string())?;
        let mut command = host.command("baresip");
        command.args(["-4", "-s", "-v", "-f"]).arg(&home);
        let mut running = Running::start(&format!("baresip {user}"), &mut command)?;
        running.wait_for("200 OK", Duration::from_secs(15))?;
        Ok(Baresip { host: host.clone(), running })
    }

    /// Gives it a command of its menu, as a netstring of JSON.
    pub fn order(&self, command: &str, parameters: &str) -> Result<(), String> {
        let json = serde_json::json!({ "command": command, "params": parameters }).to_string();
        let netstring = format!("{}:{json},", json.len());
        let mut nc = self.host.command("bash");
        let script = format!("exec 3<>/dev/tcp/127.0.0.1/{PORT}; cat >&3; sleep 0.3");
        let mut child = nc.args(["-c", &script]).stdin(Stdio::piped()).spawn().map_err(|e| e.to_string())?;
        let mut stdin = child.stdin.take().ok_or("no stdin")?;
        stdin.write_all(netstring.as_bytes()).map_err(|e| e.to_string())?;
        drop(stdin);
        let status = child.wait().map_err(|e| e.to_string())?;
        if status.success() { Ok(()) } else { Err(format!("baresip's control port: {status}")) }
    }

    /// Waits until its trace holds `what` at least `count` times.
    pub fn wait(&mut self, what: &str, count: usize) -> Result<(), String> {
        self.running.wait_for_count(what, count, Duration::from_secs(15))
    }
}
