//! linphonec, driven by its command line and read by what it prints.

use crate::phone::{Event, Order, Phone, Place};
use crate::process::Running;
use std::path::PathBuf;

pub struct Linphone {
    running: Running,
    log: PathBuf,
}

impl Linphone {
    pub fn start(place: Place) -> Result<Linphone, String> {
        let account = &place.account;
        // It keeps its call history there, and complains without the folder.
        let history = place.folder.join(".local/share/linphone");
        std::fs::create_dir_all(&history).map_err(|e| format!("{}: {e}", history.display()))?;
        let settings = place.write(
            "linphonerc",
            &format!(
                "[sip]\nsip_port=5060\nsip_tcp_port=0\nsip_tls_port=0\nuse_ipv6={}\ndefault_proxy=0\n\
                 register_only_when_network_is_up=0\nkeepalive_period=0\nmedia_encryption=none\nguess_hostname=1\n\
                 store_ha1_passwd=0\n[video]\nenabled=0\ncapture=0\ndisplay=0\n[sound]\nremote_ring=\nlocal_ring=\n\
                 [proxy_0]\nreg_proxy=<sip:{vip}>\nreg_route=<sip:{vip};lr>\nreg_identity=sip:{user}@rack.test\n\
                 reg_expires=60\nreg_sendregister=1\npublish=0\navpf=0\n\
                 [auth_info_0]\nusername={user}\npasswd={password}\nrealm=rack.test\n",
                u8::from(place.is_ipv6()),
                vip = account.vip,
                user = account.user,
                password = account.password,
            ),
        )?;
        let mut command = place.host.command("linphonec");
        command.env("HOME", &place.folder).arg("-c").arg(settings).args(["-d", "6", "-l"]);
        let log = place.folder.join("log");
        command.arg(&log);
        let running = Running::start_interactive(&format!("linphone {}", account.user), &mut command)?;
        Ok(Linphone { running, log })
    }

    /// What it does not print (its registration, the status of a refusal) stands in its log, with all messages.
    fn logged(&self, what: &str) -> usize {
        let log = std::fs::read(&self.log).unwrap_or_default();
        String::from_utf8_lossy(&log).matches(what).count()
    }
}

impl Phone for Linphone {
    fn name(&self) -> String {
        self.running.name.clone()
    }

    fn order(&mut self, order: Order) -> Result<(), String> {
        match order {
            Order::Expect(_) => Ok(()),
            Order::Dial(uri, _) => self.running.tell(&format!("call {uri}")),
            Order::Answer => self.running.tell("answer"),
            Order::Hold => self.running.tell("pause"),
            Order::Resume => self.running.tell("resume"),
            // On a call that rings this is 603 Decline.
            Order::Refuse | Order::HangUp => self.running.tell("terminate"),
        }
    }

    fn told(&self, event: Event) -> usize {
        match event {
            Event::Registered => self.logged("to [LinphoneRegistrationOk]"),
            Event::NotRegistered => self.logged("to [LinphoneRegistrationFailed]"),
            Event::Incoming => self.running.count("Receiving new incoming call"),
            Event::Established => self.running.count(" connected."),
            Event::HeldByOther => self.running.count("has been paused by"),
            Event::ResumedByOther => self.running.count("Media streams established"),
            Event::Ended | Event::Cancelled => self.running.count(" ended ("),
            Event::Refused => self.logged("\nSIP/2.0 486") + self.logged("\nSIP/2.0 603"),
        }
    }

    fn tail(&self) -> String {
        self.running.tail(25)
    }
}
