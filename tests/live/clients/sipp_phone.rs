//! SIPp as a telephone: one process a call, with the script of its part in the plan. It takes no orders while it runs, so
//! it acts by itself a moment after the other side did.

use crate::phone::{Event, Order, Phone, Place, Plan};
use crate::process::Running;
use crate::script::{NO_BODY, Script, sdp};
use crate::sipp::Sipp;
use std::path::PathBuf;
use std::time::Duration;

pub struct SippPhone {
    place: Place,
    registered: bool,
    call: Option<Running>,
    log: PathBuf,
}

/// Long enough for the other side to have seen what came before.
const MOMENT_MS: u32 = 600;

impl SippPhone {
    /// Registers, and waits for the end of that.
    pub fn start(place: Place) -> Result<SippPhone, String> {
        let account = &place.account;
        let line =
            format!("SEQUENTIAL\n{0};[authentication username={0} password={1}]\n", account.user, account.password);
        let users = place.write("user.csv", &line)?;
        let vip = format!("{}:5060", account.vip);
        let registered = Sipp {
            host: &place.host,
            scenario: "register",
            local_port: 5060,
            remote: Some(&vip),
            users: Some(&users),
            rate: Some((1, 1)),
            work: &place.folder,
        }
        .finish(Duration::from_secs(20))
        .is_ok();
        let log = place.folder.join("phone.log");
        Ok(SippPhone { place, registered, call: None, log })
    }

    fn run(&mut self, script: &Script) -> Result<(), String> {
        let scenario = script.write(&self.place.folder)?;
        let mut command = self.place.host.command("sipp");
        command.current_dir(&self.place.folder).arg("-sf").arg(scenario);
        command.args(["-i", &self.place.host.address, "-p", "5060", "-m", "1", "-nostdin", "-timeout", "30"]);
        command.args(["-timeout_error", "-trace_err", "-error_file", "phone.err", "-trace_msg", "-message_overwrite"]);
        command.args(["false", "-message_file", "messages.log", "-trace_logs", "-log_file", "phone.log"]);
        command.args(["-auth_uri", "rack.test"]);
        command.args(["-log_overwrite", "false", &format!("{}:5060", self.place.account.vip)]);
        self.call = Some(Running::start(&self.name(), &mut command)?);
        Ok(())
    }

    fn expects(&self, plan: Plan) -> Script {
        let ringing =
            Script::callee(&format!("callee-{plan:?}")).dialog_begins("INVITE").answer("180 Ringing", true, NO_BODY);
        match plan {
            Plan::Cancelled => {
                ringing.request("CANCEL").answer("200 OK", false, NO_BODY).say("ended").terminated().request("ACK")
            }
            Plan::Refused => ringing.pause(MOMENT_MS).answer("486 Busy Here", true, NO_BODY).request("ACK"),
            Plan::CallerEnds | Plan::CalleeEnds => {
                let answered =
                    ringing.pause(MOMENT_MS).answer("200 OK", true, &sdp("sendrecv")).request("ACK").say("established");
                if plan == Plan::CalleeEnds { hold_and_end(answered) } else { answered.serve_until_bye() }
            }
        }
    }

    fn dials(&self, uri: &str, plan: Plan) -> Script {
        let to = uri.trim_start_matches("sip:").split('@').next().unwrap_or_default();
        let begun = Script::caller(&format!("caller-{plan:?}"), &format!("{}@rack.test", self.place.account.user))
            .begin("INVITE", to, &sdp("sendrecv"))
            .provisional("183");
        match plan {
            Plan::Cancelled => {
                let request = format!("sip:{to}@rack.test");
                begun
                    .response("180")
                    .pause(MOMENT_MS)
                    .cancel(to)
                    .response("200")
                    .response("487")
                    .ack_refusal(&request)
                    .say("cancelled")
            }
            Plan::Refused => begun
                .provisional("180")
                .element("<recv response=\"603\" optional=\"true\" next=\"1\"/>")
                .response("486")
                .label(1)
                .ack_refusal(&format!("sip:{to}@rack.test"))
                .say("refused"),
            Plan::CallerEnds | Plan::CalleeEnds => {
                let answered = begun.provisional("180").dialog_by("200").within("ACK", NO_BODY).say("established");
                if plan == Plan::CallerEnds { hold_and_end(answered) } else { answered.serve_until_bye() }
            }
        }
    }
}

fn hold_and_end(script: Script) -> Script {
    script
        .pause(MOMENT_MS)
        .done_within("INVITE", &sdp("sendonly"))
        .pause(MOMENT_MS)
        .done_within("INVITE", &sdp("sendrecv"))
        .pause(MOMENT_MS)
        .done_within("BYE", NO_BODY)
}

impl Phone for SippPhone {
    fn name(&self) -> String {
        format!("sipp {}", self.place.account.user)
    }

    fn order(&mut self, order: Order) -> Result<(), String> {
        match order {
            Order::Expect(plan) => self.run(&self.expects(plan)),
            Order::Dial(uri, plan) => self.run(&self.dials(&uri, plan)),
            Order::Answer | Order::Refuse | Order::Hold | Order::Resume | Order::HangUp => Ok(()),
        }
    }

    fn told(&self, event: Event) -> usize {
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        let count = |word: &str| log.lines().filter(|line| line.trim() == word).count();
        match event {
            Event::Registered => usize::from(self.registered),
            Event::NotRegistered => usize::from(!self.registered),
            Event::Incoming => count("incoming"),
            Event::Established => count("established"),
            Event::HeldByOther => count("held"),
            Event::ResumedByOther => count("resumed"),
            Event::Ended => count("ended"),
            Event::Cancelled => count("cancelled"),
            Event::Refused => count("refused"),
        }
    }

    fn tail(&self) -> String {
        let read = |name: &str| std::fs::read_to_string(self.place.folder.join(name)).unwrap_or_default();
        let errors = read("phone.err");
        let first: Vec<&str> = errors.lines().take(20).collect();
        format!("{}\n{}", read("phone.log"), first.join("\n"))
    }

    fn settle(&mut self) -> Result<(), String> {
        let Some(mut call) = self.call.take() else { return Ok(()) };
        let status = call.wait(Duration::from_secs(15))?;
        if status.success() {
            return Ok(());
        }
        Err(format!("{} ended with {status}:\n{}\n{}", self.name(), self.tail(), call.tail(10)))
    }
}
