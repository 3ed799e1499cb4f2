//! SIPp scenarios written as ladders: each step is a message of one dialog, sent or awaited. They follow route sets
//! (`[routes]`, `rrs`), answer challenges, and fail on every message that they do not await.

use std::fmt::Write;
use std::path::{Path, PathBuf};

/// One side of a dialog, as a SIPp scenario.
pub struct Script {
    name: String,
    steps: String,
    /// Messages so far: SIPp's `[branch-N]` counts back over them.
    count: usize,
    /// Where the request stands whose branch its ACK or CANCEL repeats.
    request: usize,
    cseq: u32,
    /// Of the last request but an ACK.
    method: String,
    /// Of the INVITE that awaits its ACK.
    invite: u32,
    side: Side,
    /// Whether SIPp tells transactions apart, see `strict`.
    is_strict: bool,
}

enum Side {
    /// `user@domain`.
    Caller {
        aor: String,
    },
    Callee,
}

/// A body that offers or answers audio in this direction, with its header fields.
pub fn sdp(direction: &str) -> String {
    format!(
        "Content-Type: application/sdp\nContent-Length: [len]\n\nv=0\no=sipp 1 1 IN IP[local_ip_type] [local_ip]\ns=-\n\
         c=IN IP[media_ip_type] [media_ip]\nt=0 0\nm=audio 6000 RTP/AVP 0\na={direction}\n"
    )
}

pub const NO_BODY: &str = "Content-Length: 0\n\n";

impl Script {
    /// `aor` is `user@domain`.
    pub fn caller(name: &str, aor: &str) -> Script {
        Script::new(name, Side::Caller { aor: aor.to_string() })
    }

    pub fn callee(name: &str) -> Script {
        Script::new(name, Side::Callee)
    }

    fn new(name: &str, side: Side) -> Script {
        Script {
            name: name.to_string(),
            steps: String::new(),
            count: 0,
            request: 0,
            cseq: 0,
            method: String::new(),
            invite: 0,
            side,
            is_strict: false,
        }
    }

    /// A response counts for the request that it answers only: by default SIPp takes any 200 for the one that it awaits.
    /// A final response that comes again is acknowledged again.
    pub fn strict(self) -> Script {
        Script { is_strict: true, ..self }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// Writes the scenario into a folder; its path.
    pub fn write(&self, folder: &Path) -> Result<PathBuf, String> {
        let path = folder.join(format!("{}.xml", self.name));
        // SIPp refuses a variable that nothing reads.
        let variables =
            ["peer", "own", "via1", "via2", "cseq", "route", "direction", "difference", "resumed", "checked", "within"];
        let kept: Vec<&str> =
            variables.into_iter().filter(|v| self.steps.contains(&format!("assign_to=\"{v}\""))).collect();
        let reference = match kept.is_empty() {
            true => String::new(),
            false => format!("<Reference variables=\"{}\"/>\n", kept.join(",")),
        };
        let text = format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<scenario name=\"{}\">\n{}{reference}</scenario>\n",
            self.name, self.steps
        );
        std::fs::write(&path, text).map_err(|e| format!("{}: {e}", path.display()))?;
        Ok(path)
    }

    /// Sends `text` as it stands; SIPp repeats it by timer if `repeat`.
    pub fn send(mut self, text: &str, repeat: bool) -> Script {
        let retrans = if repeat { " retrans=\"500\"" } else { "" };
        let transaction = match text.split(' ').next().filter(|_| self.is_strict) {
            None | Some("SIP/2.0") => String::new(),
            Some("ACK") => format!(" ack_txn=\"INVITE{}\"", self.invite),
            Some(method) => format!(" start_txn=\"{method}{}\"", self.cseq),
        };
        let _ = writeln!(self.steps, "<send{retrans}{transaction}><![CDATA[\n{text}]]></send>");
        self.count += 1;
        self
    }

    /// A message element with SIPp's own attributes and actions.
    pub fn element(mut self, text: &str) -> Script {
        let _ = writeln!(self.steps, "{text}");
        self.count += 1;
        self
    }

    pub fn pause(self, ms: u32) -> Script {
        self.element(&format!("<pause milliseconds=\"{ms}\"/>"))
    }

    /// Writes a word into SIPp's log.
    pub fn say(self, word: &str) -> Script {
        self.element(&format!("<nop><action><log message=\"{word}\"/></action></nop>"))
    }

    /// The last step: what comes again is answered again for so long.
    pub fn linger(self, ms: u32) -> Script {
        self.element(&format!("<timewait milliseconds=\"{ms}\"/>"))
    }

    pub fn label(mut self, id: u32) -> Script {
        let _ = writeln!(self.steps, "<label id=\"{id}\"/>");
        self
    }

    /// The next message is this request: its CSeq, and where it stands.
    fn next_request(&mut self, method: &str) {
        self.request = self.count;
        if method != "ACK" {
            self.cseq += 1;
            self.method = method.to_string();
        }
        if method == "INVITE" {
            self.invite = self.cseq;
        }
    }

    fn request_text(&self, method: &str, uri: &str, to: &str, branch: &str, more: &str) -> String {
        let from = match &self.side {
            Side::Caller { aor } => format!(" <sip:{aor}>;tag=[pid]c[call_number]"),
            Side::Callee => "[$own];tag=[pid]a[call_number]".to_string(),
        };
        let user = self.user();
        let cseq = if matches!(method, "ACK" | "CANCEL") { self.invite } else { self.cseq };
        format!(
            "{method} {uri} SIP/2.0\nVia: SIP/2.0/[transport] [local_ip]:[local_port];branch={branch};rport\n\
             Max-Forwards: 70\nFrom:{from}\n{to}\nCall-ID: [call_id]\nCSeq: {cseq} {method}\n\
             Contact: <sip:{user}@[local_ip]:[local_port]>\n{more}"
        )
    }

    /// Whose requests these are.
    fn user(&self) -> &str {
        match &self.side {
            Side::Caller { aor } => aor.split('@').next().unwrap_or_default(),
            Side::Callee => "callee",
        }
    }

    /// A request that begins something, from a trunk: it is known by its address and not challenged.
    pub fn begin_trusted(mut self, method: &str, to: &str, more: &str) -> Script {
        let uri = format!("sip:{to}@rack.test");
        self.next_request(method);
        let text = self.request_text(method, &uri, &format!("To: <{uri}>"), "[branch]", more);
        self.send(&text, true).provisional("100")
    }

    /// A request that begins something, to a user of the rack: sent, challenged, and sent again with credentials.
    pub fn begin(mut self, method: &str, to: &str, more: &str) -> Script {
        let uri = format!("sip:{to}@rack.test");
        let to = format!("To: <{uri}>");
        self.next_request(method);
        let first = self.request_text(method, &uri, &to, "[branch]", more);
        let mut script = self.send(&first, true).provisional("100");
        let user = script.user().to_string();
        script = script.element("<recv response=\"407\" auth=\"true\"/>");
        if method == "INVITE" {
            script = script.ack_refusal(&uri);
        }
        script.next_request(method);
        let credentials = format!("[authentication username={user} password=secret]\n{more}");
        let second = script.request_text(method, &uri, &to, "[branch]", &credentials);
        script.send(&second, true).provisional("100")
    }

    /// The ACK of a final answer that is no 2xx: hop by hop, with the INVITE's branch.
    pub fn ack_refusal(self, uri: &str) -> Script {
        let branch = format!("[branch-{}]", self.count - self.request);
        let text = self.request_text("ACK", uri, "[last_To:]", &branch, NO_BODY);
        self.send(&text, false)
    }

    /// CANCEL of the INVITE that is under way.
    pub fn cancel(self, to: &str) -> Script {
        let uri = format!("sip:{to}@rack.test");
        let branch = format!("[branch-{}]", self.count - self.request);
        let text = self.request_text("CANCEL", &uri, &format!("To: <{uri}>"), &branch, NO_BODY);
        self.send(&text, true)
    }

    pub fn provisional(self, status: &str) -> Script {
        self.response_with(status, " optional=\"true\"")
    }

    /// A response to the last request with SIPp's own attributes.
    pub fn response_with(self, status: &str, attributes: &str) -> Script {
        let of = self.of_transaction();
        self.element(&format!("<recv response=\"{status}\"{of}{attributes}/>"))
    }

    /// The attribute by which a response counts for the last request only.
    fn of_transaction(&self) -> String {
        match self.is_strict {
            true => format!(" response_txn=\"{}{}\"", self.method, self.cseq),
            false => String::new(),
        }
    }

    /// The caller: an answer that makes the dialog (route set, remote target, the other's tag).
    pub fn dialog_by(self, status: &str) -> Script {
        let of = self.of_transaction();
        self.element(&format!(
            "<recv response=\"{status}\"{of} rrs=\"true\"><action><ereg regexp=\".*\" search_in=\"hdr\" header=\"To:\" assign_to=\"peer\"/></action></recv>"
        ))
    }

    /// The callee: a request that makes the dialog. Says "incoming".
    pub fn dialog_begins(self, method: &str) -> Script {
        let keep = |header: &str, variable: &str| {
            format!("<ereg regexp=\".*\" search_in=\"hdr\" {header} assign_to=\"{variable}\"/>")
        };
        let kept = [
            keep("header=\"From:\"", "peer"),
            keep("header=\"To:\"", "own"),
            keep("header=\"Via:\"", "via1"),
            keep("header=\"Via:\" occurrence=\"2\"", "via2"),
            keep("header=\"CSeq:\"", "cseq"),
            keep("header=\"Record-Route:\"", "route"),
        ]
        .concat();
        self.element(&format!(
            "<recv request=\"{method}\" rrs=\"true\"><action>{kept}<log message=\"incoming\"/></action></recv>"
        ))
    }

    /// The callee: an answer to the INVITE that began the dialog, when other requests have come since.
    pub fn answer_invite(self, status: &str, more: &str) -> Script {
        let text = format!(
            "SIP/2.0 {status}\nVia:[$via1]\nVia:[$via2]\nRecord-Route:[$route]\nFrom:[$peer]\n\
             To:[$own];tag=[pid]a[call_number]\n[last_Call-ID:]\nCSeq:[$cseq]\n\
             Contact: <sip:callee@[local_ip]:[local_port]>\n{more}"
        );
        self.send(&text, status.starts_with('2'))
    }

    /// A request whose start line or header fields must match; SIPp fails the call otherwise.
    pub fn request_with(self, method: &str, expressions: &[&str]) -> Script {
        let checks: String = expressions
            .iter()
            .map(|e| format!("<ereg regexp=\"{e}\" search_in=\"msg\" check_it=\"true\" assign_to=\"checked\"/>"))
            .collect();
        self.element(&format!("<recv request=\"{method}\"><action>{checks}</action></recv>"))
    }

    /// The callee: 487 to the INVITE that began the dialog, once a CANCEL has been answered.
    pub fn terminated(self) -> Script {
        self.terminated_with(true)
    }

    /// The same without SIPp's own repetition.
    pub fn terminated_once(self) -> Script {
        self.terminated_with(false)
    }

    fn terminated_with(self, repeat: bool) -> Script {
        self.send(
            "SIP/2.0 487 Request Terminated\nVia:[$via1]\nVia:[$via2]\nFrom:[$peer]\n\
             To:[$own];tag=[pid]a[call_number]\n[last_Call-ID:]\nCSeq:[$cseq]\nContent-Length: 0\n\n",
            repeat,
        )
    }

    /// A request within the dialog.
    pub fn within(mut self, method: &str, more: &str) -> Script {
        self.next_request(method);
        let more = format!("[routes]\n{more}");
        let text = self.request_text(method, "[next_url]", "To:[$peer]", "[branch]", &more);
        self.send(&text, method != "ACK")
    }

    /// A request within the dialog, with its 200 (and the ACK of an INVITE).
    pub fn done_within(self, method: &str, more: &str) -> Script {
        let script = self.within(method, more);
        if method != "INVITE" {
            return script.response("200");
        }
        script.provisional("100").response("200").within("ACK", NO_BODY)
    }

    pub fn response(self, status: &str) -> Script {
        self.response_with(status, "")
    }

    pub fn request(self, method: &str) -> Script {
        self.element(&format!("<recv request=\"{method}\"/>"))
    }

    /// Answers the last request; `first` of a dialog puts in our tag.
    pub fn answer(self, status: &str, first: bool, more: &str) -> Script {
        let text = answer_text(status, first, more);
        let repeat = first && status.starts_with('2') && more.contains("sdp");
        self.send(&text, repeat)
    }

    /// Awaits a request within the dialog and answers it with 200.
    pub fn serve(self, method: &str) -> Script {
        self.request(method).answer("200 OK", false, NO_BODY)
    }

    /// Serves re-INVITEs until a BYE comes; says "held", "resumed" and "ended".
    pub fn serve_until_bye(self) -> Script {
        // SIPp keeps what an expression found until it finds something else: a re-INVITE without a direction is sendrecv.
        let forget = "<nop><action><assignstr assign_to=\"direction\" value=\"none\"/></action></nop>";
        let look = "<ereg regexp=\"a=sendonly|a=inactive\" search_in=\"body\" assign_to=\"direction\"/>\
                    <strcmp assign_to=\"difference\" variable=\"direction\" value=\"none\"/>\
                    <test assign_to=\"resumed\" variable=\"difference\" compare=\"equal\" value=\"0\"/>";
        let answer = |direction: &str| answer_text("200 OK", false, &sdp(direction));
        self.label(1)
            .element(forget)
            .element(&format!("<recv request=\"INVITE\" optional=\"true\" next=\"2\"><action>{look}</action></recv>"))
            .element("<recv request=\"UPDATE\" optional=\"true\" next=\"4\"/>")
            .element("<recv request=\"BYE\" next=\"5\"><action><log message=\"ended\"/></action></recv>")
            .label(2)
            .element("<nop test=\"resumed\" next=\"3\"/>")
            .say("held")
            .send(&answer("recvonly"), true)
            .element("<recv request=\"ACK\" next=\"1\"/>")
            .label(3)
            .say("resumed")
            .send(&answer("sendrecv"), true)
            .element("<recv request=\"ACK\" next=\"1\"/>")
            .label(4)
            .element(&format!("<send next=\"1\"><![CDATA[\n{}]]></send>", answer("sendrecv")))
            .label(5)
            .answer("200 OK", false, NO_BODY)
    }
}

/// An answer to the last request; `first` of a dialog puts in our tag.
pub fn answer_text(status: &str, first: bool, more: &str) -> String {
    let tag = if first { ";tag=[pid]a[call_number]" } else { "" };
    format!(
        "SIP/2.0 {status}\n[last_Via:]\n[last_Record-Route:]\n[last_From:]\n[last_To:]{tag}\n[last_Call-ID:]\n[last_CSeq:]\n\
         Contact: <sip:callee@[local_ip]:[local_port]>\n{more}"
    )
}
