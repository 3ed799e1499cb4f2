//! What passes besides calls, each as a ladder of two SIPp scripts that follow route sets: PRACK and UPDATE before the
//! answer, INFO, UPDATE, REFER and NOTIFY, MESSAGE and an unknown method within a dialog, subscriptions, single requests,
//! a redirection, and a trunk that records its own route.

use crate::Verdict;
use crate::namespaces::{Host, Network};
use crate::process::Running;
use crate::rack_process::{Rack, rack_file, work_folder};
use crate::script::{NO_BODY, Script, sdp};
use crate::sipp::Sipp;
use std::path::Path;
use std::time::Duration;

/// Who runs a side of a ladder: host and port, in a folder of its own.
pub struct Stage<'a> {
    pub caller: (&'a Host, &'a str),
    pub callee: (&'a Host, &'a str),
    /// Where the caller finds the rack.
    pub vip: &'a str,
    pub rack: &'a Rack,
    pub folder: &'a Path,
}

pub struct Ladder {
    pub caller: Script,
    pub callee: Script,
}

pub fn run() -> Verdict {
    let folder = work_folder("dialogs")?;
    let mut network = Network::new()?;
    let host = network.host("rack", "10.99.0.1")?;
    let (a, b) = (network.host("a", "10.99.0.20")?, network.host("b", "10.99.0.21")?);
    let carrier = network.host("trunk", "10.99.0.30")?;
    let config = rack_file(&host, &folder)?;
    let rack = Rack::start(Some(&host), &folder.join("data"), &["--config", &config.to_string_lossy()])?;
    for user in ["2001", "2002"] {
        rack.siprack(&["subscriber", "add", &format!("{user}@rack.test"), "--password", "secret"])?;
    }
    register(&a, "2001", "5080", "10.99.0.1:5060", &folder)?;
    register(&b, "2002", "5060", "10.99.0.1:5060", &folder)?;
    let between =
        Stage { caller: (&a, "5080"), callee: (&b, "5060"), vip: "10.99.0.1:5060", rack: &rack, folder: &folder };
    let ladders = [
        reliable_provisional(),
        in_dialog(),
        subscription(),
        message(),
        unknown_method(),
        redirected(),
        bye_from_callee(),
    ];
    for ladder in &ladders {
        climb(ladder, &between)?;
    }
    climb(&trunk_records_route(), &Stage { callee: (&carrier, "5060"), ..between })?;
    let inward =
        Stage { caller: (&carrier, "5060"), callee: (&a, "5080"), vip: "10.99.0.1:5060", rack: &rack, folder: &folder };
    climb(&trunk_calls_in_by_its_route(), &inward)?;
    let cdrs = rack.cdrs().len();
    if cdrs != 5 {
        return Err(format!("five of the ladders are answered calls, there are {cdrs} CDRs"));
    }
    rack.stop()?;
    Ok(format!("{} ladders, {cdrs} CDRs", ladders.len() + 2))
}

/// Registers a user whose contact is this host and port.
pub fn register(host: &Host, user: &str, port: &str, vip: &str, folder: &Path) -> Result<(), String> {
    let users = folder.join(format!("{user}.csv"));
    let line = format!("SEQUENTIAL\n{user};[authentication username={user} password=secret]\n");
    std::fs::write(&users, line).map_err(|e| e.to_string())?;
    let local_port = port.parse().map_err(|e| format!("{port}: {e}"))?;
    let rate = Some((1, 1));
    Sipp { host, scenario: "register", local_port, remote: Some(vip), users: Some(&users), rate, work: folder }
        .finish(Duration::from_secs(20))
}

/// Both sides must end content. A machine that stands still for so long that nodes lose their lease costs a datagram,
/// which a peer would send again and a strict script does not forgive: such a ladder is climbed once more.
pub fn climb(ladder: &Ladder, stage: &Stage<'_>) -> Result<(), String> {
    let before = stage.rack.left_unserved();
    match climb_once(ladder, stage) {
        Err(_) if stage.rack.left_unserved() > before => climb_once(ladder, stage),
        verdict => verdict,
    }
}

fn climb_once(ladder: &Ladder, stage: &Stage<'_>) -> Result<(), String> {
    let mut callee = start(&ladder.callee, stage.callee, None, stage.folder)?;
    // SIPp must have its socket before the first INVITE.
    std::thread::sleep(Duration::from_millis(200));
    let mut caller = start(&ladder.caller, stage.caller, Some(stage.vip), stage.folder)?;
    let ended = [caller.wait(Duration::from_secs(25))?, callee.wait(Duration::from_secs(25))?];
    if ended.iter().all(|status| status.success()) {
        return Ok(());
    }
    let told = |script: &Script, status: std::process::ExitStatus| {
        let complaint = std::fs::read_to_string(stage.folder.join(format!("{}.err", script.name())));
        format!("{} {status}: {}\n{}", script.name(), complaint.unwrap_or_default(), seen(script, stage.folder))
    };
    Err(format!("{}\n{}", told(&ladder.caller, ended[0]), told(&ladder.callee, ended[1])))
}

/// What a script sent and got: times and start lines, with the CSeq.
fn seen(script: &Script, folder: &Path) -> String {
    let text = std::fs::read_to_string(folder.join(format!("{}.messages", script.name()))).unwrap_or_default();
    let mut lines = Vec::new();
    for message in text.split("\n-----").filter(|message| message.contains("SIP/2.0")) {
        let time = message.lines().next().and_then(|l| l.split_whitespace().last()).unwrap_or_default();
        let way = if message.contains("message sent") { "->" } else { "<-" };
        let start = message.lines().find(|l| l.contains("SIP/2.0") && !l.starts_with("Via")).unwrap_or_default();
        let cseq = message.lines().find(|l| l.starts_with("CSeq")).unwrap_or_default();
        lines.push(format!("  {time} {way} {start} ({cseq})"));
    }
    lines.join("\n")
}

/// Without a VIP it sends to where the first request came from.
fn start(script: &Script, side: (&Host, &str), vip: Option<&str>, folder: &Path) -> Result<Running, String> {
    let ((host, port), name, scenario) = (side, script.name(), script.write(folder)?);
    let mut command = host.command("sipp");
    command.current_dir(folder).arg("-sf").arg(scenario).args(["-i", &host.address, "-p", port, "-m", "1"]);
    command.args(["-nostdin", "-timeout", "20", "-timeout_error", "-trace_err", "-error_file", &format!("{name}.err")]);
    command.args(["-trace_msg", "-message_file", &format!("{name}.messages"), "-auth_uri", "rack.test"]).args(vip);
    Running::start(&format!("sipp {name}"), &mut command)
}

fn user(name: &str) -> Script {
    Script::caller(&format!("{name}-caller"), "2001@rack.test")
}

fn other(name: &str) -> Script {
    Script::callee(&format!("{name}-callee"))
}

/// RFC 3262 and RFC 3311: a reliable 183 with an answer, PRACK, UPDATE before the 200.
fn reliable_provisional() -> Ladder {
    let name = "prack";
    let offer = format!("Supported: 100rel\nAllow: INVITE, ACK, CANCEL, BYE, PRACK, UPDATE\n{}", sdp("sendrecv"));
    let caller = user(name)
        .begin("INVITE", "2002", &offer)
        .dialog_by("183")
        .done_within("PRACK", &format!("RAck: 1 2 INVITE\n{NO_BODY}"))
        .done_within("UPDATE", &sdp("sendrecv"))
        .response("180")
        .response("200")
        .within("ACK", NO_BODY)
        .pause(100)
        .done_within("BYE", NO_BODY);
    let callee = other(name)
        .dialog_begins("INVITE")
        .answer_invite("183 Session Progress", &format!("Require: 100rel\nRSeq: 1\n{}", sdp("sendrecv")))
        .request_with("PRACK", &["RAck: 1 2 INVITE"])
        .answer("200 OK", false, NO_BODY)
        .request("UPDATE")
        .answer("200 OK", false, &sdp("sendrecv"))
        .answer_invite("180 Ringing", NO_BODY)
        .pause(100)
        .answer_invite("200 OK", NO_BODY)
        .request("ACK")
        .serve("BYE");
    Ladder { caller, callee }
}

/// RFC 6086, 3311, 3515, 3428 and a method of nobody's, both ways within one dialog.
fn in_dialog() -> Ladder {
    let name = "within";
    let refer = format!("Refer-To: <sip:2003@rack.test>\n{NO_BODY}");
    let info =
        "Info-Package: dtmf\nContent-Type: application/dtmf-relay\nContent-Length: [len]\n\nSignal=5\nDuration=160\n";
    let notify = "Event: refer\nSubscription-State: terminated;reason=noresource\nContent-Type: message/sipfrag\n\
                  Content-Length: [len]\n\nSIP/2.0 200 OK\n";
    let text = "Content-Type: text/plain\nContent-Length: [len]\n\nhello\n";
    let caller = user(name)
        .begin("INVITE", "2002", &sdp("sendrecv"))
        .provisional("180")
        .dialog_by("200")
        .within("ACK", NO_BODY)
        .done_within("INFO", info)
        .done_within("UPDATE", &sdp("sendrecv"))
        .done_within("MESSAGE", text)
        .within("REFER", &refer)
        .response("202")
        .serve("NOTIFY")
        .serve("INFO")
        .within("FROBNICATE", NO_BODY)
        .response("501")
        .done_within("BYE", NO_BODY);
    let callee = answered(other(name))
        .request_with("INFO", &["Info-Package: dtmf", "Signal=5"])
        .answer("200 OK", false, NO_BODY)
        .request("UPDATE")
        .answer("200 OK", false, &sdp("sendrecv"))
        .serve("MESSAGE")
        .request_with("REFER", &["Refer-To: .sip:2003@rack.test."])
        .answer("202 Accepted", false, NO_BODY)
        .done_within("NOTIFY", notify)
        .done_within("INFO", info)
        .request("FROBNICATE")
        .answer("501 Not Implemented", false, NO_BODY)
        .serve("BYE");
    Ladder { caller, callee }
}

fn answered(callee: Script) -> Script {
    callee
        .dialog_begins("INVITE")
        .answer("180 Ringing", true, NO_BODY)
        .pause(100)
        .answer("200 OK", true, &sdp("sendrecv"))
        .request("ACK")
}

/// RFC 6665: a subscription to presence, its notifications, refreshed and ended within its dialog.
fn subscription() -> Ladder {
    let name = "presence";
    let event = |expires: u32| format!("Event: presence\nExpires: {expires}\nAccept: application/pidf+xml\n{NO_BODY}");
    let notify = |state: &str| format!("Event: presence\nSubscription-State: {state}\n{NO_BODY}");
    let caller = user(name)
        .begin("SUBSCRIBE", "2002", &event(60))
        .dialog_by("200")
        .serve("NOTIFY")
        .within("SUBSCRIBE", &event(0))
        .response("200")
        .serve("NOTIFY");
    let callee = other(name)
        .dialog_begins("SUBSCRIBE")
        .answer("200 OK", true, &format!("Expires: 60\n{NO_BODY}"))
        .done_within("NOTIFY", &notify("active;expires=60"))
        .request("SUBSCRIBE")
        .answer("200 OK", false, &format!("Expires: 0\n{NO_BODY}"))
        .done_within("NOTIFY", &notify("terminated;reason=timeout"));
    Ladder { caller, callee }
}

/// RFC 3428: a message outside of dialogs.
fn message() -> Ladder {
    let text = "Content-Type: text/plain\nContent-Length: [len]\n\nhello\n";
    let caller = user("message").begin("MESSAGE", "2002", text).response("200");
    let callee = other("message").request_with("MESSAGE", &["hello"]).answer("200 OK", true, NO_BODY);
    Ladder { caller, callee }
}

/// RFC 3261 §16.2: a proxy passes methods that it does not know.
fn unknown_method() -> Ladder {
    let caller = user("unknown").begin("FROBNICATE", "2002", NO_BODY).response("501");
    let callee = other("unknown").request("FROBNICATE").answer("501 Not Implemented", true, NO_BODY);
    Ladder { caller, callee }
}

/// A 302 goes back to the caller with its Contact: who is called next is the caller's to choose.
fn redirected() -> Ladder {
    let caller = user("moved")
        .begin("INVITE", "2002", &sdp("sendrecv"))
        .element("<recv response=\"302\"><action><ereg regexp=\"sip:elsewhere@example.com\" search_in=\"msg\" check_it=\"true\" assign_to=\"checked\"/></action></recv>")
        .ack_refusal("sip:2002@rack.test");
    let moved = "SIP/2.0 302 Moved Temporarily\n[last_Via:]\n[last_From:]\n[last_To:];tag=[pid]a[call_number]\n\
                 [last_Call-ID:]\n[last_CSeq:]\nContact: <sip:elsewhere@example.com>\nContent-Length: 0\n\n";
    let callee = other("moved").request("INVITE").send(moved, true).request("ACK");
    Ladder { caller, callee }
}

/// The callee's own re-INVITE and BYE follow the route set the other way round.
fn bye_from_callee() -> Ladder {
    let name = "callee-ends";
    let caller = user(name)
        .begin("INVITE", "2002", &sdp("sendrecv"))
        .provisional("180")
        .dialog_by("200")
        .within("ACK", NO_BODY)
        .serve_until_bye();
    let callee =
        answered(other(name)).pause(200).done_within("INVITE", &sdp("sendonly")).pause(100).done_within("BYE", NO_BODY);
    Ladder { caller, callee }
}

/// The address that a carrier's inner server writes into its Contact: nobody outside reaches it but by the carrier's edge.
const INNER: &str = "sip:inner@10.77.0.9:5060";
const EDGE: &str = "sip:edge@10.99.0.30:5060;lr";

/// The carrier's edge records a route in front of ours: requests within the dialog go there, with the inner server's
/// address as Request-URI and the edge's own Route value left on top.
fn trunk_records_route() -> Ladder {
    let name = "trunk-route";
    let reply = |status: &str, body: &str| {
        format!(
            "SIP/2.0 {status}\n[last_Via:]\nRecord-Route: <{EDGE}>\n[last_Record-Route:]\n[last_From:]\n\
             [last_To:];tag=[pid]a[call_number]\n[last_Call-ID:]\n[last_CSeq:]\nContact: <{INNER}>\n{body}"
        )
    };
    let by_the_edge =
        |method: &str| [format!("{method} {INNER} SIP"), "Route: .sip:edge@10.99.0.30:5060;lr.".to_string()];
    let caller = user(name)
        .begin("INVITE", "+442071234567", &sdp("sendrecv"))
        .provisional("180")
        .dialog_by("200")
        .within("ACK", NO_BODY)
        .pause(100)
        .done_within("INFO", NO_BODY)
        .done_within("BYE", NO_BODY);
    let mut callee = other(name)
        .dialog_begins("INVITE")
        .send(&reply("180 Ringing", NO_BODY), false)
        .pause(100)
        .send(&reply("200 OK", &sdp("sendrecv")), true);
    for method in ["ACK", "INFO", "BYE"] {
        let expressions = by_the_edge(method);
        callee = callee.request_with(method, &[&expressions[0], &expressions[1]]);
        if method != "ACK" {
            callee = callee.answer("200 OK", false, NO_BODY);
        }
    }
    Ladder { caller, callee }
}

/// A carrier's call that came over its edge: what the user sends goes back by ours and then by the edge.
fn trunk_calls_in_by_its_route() -> Ladder {
    let name = "trunk-inward";
    let invite = format!("Record-Route: <{EDGE}>\n{}", sdp("sendrecv"));
    // SIPp plays the edge too, which has taken its own value off what the inner server sends.
    let ours = "<recv response=\"200\" rrs=\"true\"><action>\
                <ereg regexp=\".*\" search_in=\"hdr\" header=\"To:\" assign_to=\"peer\"/>\
                <ereg regexp=\".sip:10.99.0.1:5060;lr[^,]*\" search_in=\"msg\" assign_to=\"route\"/></action></recv>";
    let ack = "ACK [next_url] SIP/2.0\nVia: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]\nMax-Forwards: 69\n\
               Route: [$route]\nFrom: <sip:+442070000000@carrier.test>;tag=[pid]c[call_number]\nTo:[$peer]\n\
               Call-ID: [call_id]\nCSeq: 1 ACK\nContent-Length: 0\n\n";
    let caller = Script::caller(&format!("{name}-caller"), "+442070000000@carrier.test")
        .begin_trusted("INVITE", "2001", &invite)
        .provisional("180")
        .element(ours)
        .send(ack, false)
        .request_with("INFO", &["Route: .sip:edge@10.99.0.30:5060;lr."])
        .answer("200 OK", false, NO_BODY)
        .serve("BYE");
    let callee = answered(other(name)).pause(100).done_within("INFO", NO_BODY).pause(100).done_within("BYE", NO_BODY);
    Ladder { caller, callee }
}
