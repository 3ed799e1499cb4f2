//! pjsua2, by a small telephone of our own (`pjsua2_phone.py`) in the virtual environment that `tests/run` makes.

use crate::phone::{Event, Order, Phone, Place};
use crate::process::Running;
use std::path::{Path, PathBuf};

pub struct Pjsua2 {
    running: Running,
}

/// The Python that has the module, if `tests/run` (or somebody) has made it.
pub fn python() -> Option<PathBuf> {
    let own = std::env::current_exe().ok()?;
    let python = own.ancestors().nth(2)?.join("live-python/bin/python");
    let lib = std::fs::read_dir(python.parent()?.parent()?.join("lib")).ok()?;
    let installed = lib.flatten().any(|version| version.path().join("site-packages/pjsua2").is_dir());
    (installed && python.exists()).then_some(python)
}

impl Pjsua2 {
    pub fn start(place: Place) -> Result<Pjsua2, String> {
        let python = python().ok_or("no Python with pjsua2")?;
        let account = &place.account;
        let mut command = place.host.command(python);
        command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("live/clients/pjsua2_phone.py"));
        command.args([&account.user, &account.password, &account.vip, &place.host.address]);
        command.arg(place.folder.join("log"));
        let running = Running::start_interactive(&format!("pjsua2 {}", account.user), &mut command)?;
        Ok(Pjsua2 { running })
    }
}

impl Phone for Pjsua2 {
    fn name(&self) -> String {
        self.running.name.clone()
    }

    fn order(&mut self, order: Order) -> Result<(), String> {
        match order {
            Order::Expect(_) => Ok(()),
            Order::Dial(uri, _) => self.running.tell(&format!("dial {uri}")),
            Order::Answer => self.running.tell("answer"),
            Order::Refuse => self.running.tell("busy"),
            Order::Hold => self.running.tell("hold"),
            Order::Resume => self.running.tell("resume"),
            Order::HangUp => self.running.tell("hangup"),
        }
    }

    fn told(&self, event: Event) -> usize {
        self.running.count(match event {
            Event::Registered => "registration 200",
            Event::NotRegistered => "registration 401",
            Event::Incoming => "incoming",
            Event::Established => "established",
            Event::HeldByOther => "media held by the other",
            Event::ResumedByOther => "media active",
            Event::Ended => "ended ",
            Event::Cancelled => "ended 487",
            Event::Refused => return self.running.count("ended 486") + self.running.count("ended 603"),
        })
    }

    fn tail(&self) -> String {
        self.running.tail(25)
    }
}
