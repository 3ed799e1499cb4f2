//! baresip, driven through its ctrl_tcp module and read by its log and SIP trace.

use crate::phone::{Event, Order, Phone, Place};
use crate::process::Running;
use std::io::Write;
use std::process::Stdio;

const PORT: u16 = 4444;

pub struct Baresip {
    place: Place,
    running: Running,
}

impl Baresip {
    pub fn start(place: Place) -> Result<Baresip, String> {
        let user = &place.account.user;
        place.write(
            "config",
            &format!(
                "poll_method epoll\nsip_listen {}:5060\nmodule_path /usr/lib/baresip/modules\n\
                 audio_source aubridge,dummy\naudio_player aubridge,dummy\nmodule g711.so\nmodule aubridge.so\n\
                 module_app account.so\nmodule_app menu.so\nmodule_app ctrl_tcp.so\nctrl_tcp_listen 127.0.0.1:{PORT}\n",
                place.uri_host()
            ),
        )?;
        place.write(
            "accounts",
            &format!(
                "<sip:{user}@rack.test>;auth_user={user};auth_pass={};outbound=\"sip:{}\";answermode=manual;regint=60\n",
                place.account.password, place.account.vip
            ),
        )?;
        place.write("contacts", "")?;
        let mut command = place.host.command("baresip");
        command.args([if place.is_ipv6() { "-6" } else { "-4" }, "-s", "-v", "-f"]).arg(&place.folder);
        let running = Running::start(&format!("baresip {user}"), &mut command)?;
        Ok(Baresip { place, running })
    }

    /// Gives it a command of its menu, as a netstring of JSON.
    fn menu(&self, command: &str, parameters: &str) -> Result<(), String> {
        let json = serde_json::json!({ "command": command, "params": parameters }).to_string();
        let netstring = format!("{}:{json},", json.len());
        let script = format!("exec 3<>/dev/tcp/127.0.0.1/{PORT}; cat >&3; sleep 0.3");
        let mut bash = self.place.host.command("bash");
        bash.args(["-c", &script]).stdin(Stdio::piped()).stdout(Stdio::null());
        let mut child = bash.spawn().map_err(|e| e.to_string())?;
        let mut stdin = child.stdin.take().ok_or("no stdin")?;
        stdin.write_all(netstring.as_bytes()).map_err(|e| e.to_string())?;
        drop(stdin);
        let status = child.wait().map_err(|e| e.to_string())?;
        if status.success() { Ok(()) } else { Err(format!("baresip's control port: {status}")) }
    }
}

impl Phone for Baresip {
    fn name(&self) -> String {
        self.running.name.clone()
    }

    fn order(&mut self, order: Order) -> Result<(), String> {
        match order {
            Order::Expect(_) => Ok(()),
            Order::Dial(uri, _) => self.menu("dial", &uri),
            Order::Answer => self.menu("accept", ""),
            Order::Hold => self.menu("hold", ""),
            Order::Resume => self.menu("resume", ""),
            Order::Refuse | Order::HangUp => self.menu("hangup", ""),
        }
    }

    fn told(&self, event: Event) -> usize {
        match event {
            // The trace of the answer that binds something.
            Event::Registered => self.running.count("[1 binding]").max(self.running.count("200 OK")),
            Event::NotRegistered => self.running.count("401 Unauthorized ("),
            Event::Incoming => self.running.count("Incoming call from:"),
            Event::Established => self.running.count("Call established:"),
            Event::HeldByOther => self.running.count("a=sendonly") + self.running.count("a=inactive"),
            Event::ResumedByOther => self.running.count("a=sendrecv"),
            Event::Ended | Event::Refused => self.running.count("session closed:"),
            Event::Cancelled => self.running.count("SIP/2.0 487"),
        }
    }

    fn tail(&self) -> String {
        self.running.tail(40)
    }
}
