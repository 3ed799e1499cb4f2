//! What became of one call: the entries of all nodes' flight recorders, merged by the time of day, as a ladder with what was
//! decided between the rungs. Used by `siprack trace` (`io/trace`).
//!
//! Nodes of one machine have one clock; those of several are as much in order as their clocks are.

use crate::columns::printable;
use crate::ladder::{self, Ladder};
use crate::overview::duration;
use cc_node::cdr::timestamp;
use cc_node::trace::{Answer, Told};
use common::ids::{BootId, NodeId};
use common::sip::reason_phrase;
use common::time::WallMillis;
use serde::Serialize;
use std::collections::BTreeMap;

/// Behind a message that left when a backup had acknowledged its record.
const BACKED: char = '✓';

/// What one node has said, or why it has not.
#[derive(Clone, Debug)]
pub struct Heard {
    pub node: NodeId,
    pub answer: Result<Answer, String>,
}

/// One entry of one node. As JSON it is an object of its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Line {
    pub at: String,
    pub node: NodeId,
    pub boot: BootId,
    pub worker: u16,
    #[serde(flatten)]
    pub told: Told,
}

/// What has been shown already, and in which columns.
#[derive(Debug, Default)]
pub struct Story {
    /// Of each incarnation's entries, the first that was not.
    shown: BTreeMap<(NodeId, BootId), u64>,
    callers: Vec<String>,
    nodes: Vec<NodeId>,
    callees: Vec<String>,
}

impl Story {
    /// The entries that are new, by the time of day, then by node and number. `settled`: those alone that no node can
    /// say anything before any more; the others come the next time.
    pub fn fresh(&mut self, heard: &[Heard], settled: bool) -> Vec<Line> {
        let answers = || heard.iter().filter_map(|heard| heard.answer.as_ref().ok());
        let until = answers().map(|answer| answer.now_us).min().filter(|_| settled).unwrap_or(u64::MAX);
        let mut lines = Vec::new();
        for answer in answers() {
            let shown = self.shown.entry((answer.node, answer.boot)).or_default();
            let fresh = answer.entries.iter().filter(|told| told.at_us <= until && told.seq >= *shown);
            let begin = lines.len();
            lines.extend(fresh.map(|told| line(answer, told)));
            if let Some(last) = lines[begin..].last() {
                *shown = last.told.seq + 1;
            }
        }
        lines.sort_by_key(|line| (line.told.at_us, line.node, line.told.seq));
        lines
    }

    /// The rungs of these entries, behind those that were drawn before. The columns' heads come with the first, and when
    /// there are others than before.
    pub fn draw(&mut self, lines: &[Line]) -> String {
        let before = self.columns();
        lines.iter().for_each(|line| self.place(line));
        let columns = self.columns();
        let names: Vec<&str> = columns.iter().map(String::as_str).collect();
        let mut ladder = Ladder::by_clock(&names);
        // The rung of an answer says it all, where who gave it remembers it.
        let is_rung = |line: &Line| {
            let gave = |other: &Line| Some(other.node) == line.told.with && other.told.event == "says_not_mine";
            line.told.event == "heard_not_mine" && lines.iter().any(gave)
        };
        lines.iter().filter(|line| !is_rung(line)).for_each(|line| draw(&mut ladder, line));
        if columns == before { ladder.rungs() } else { ladder.to_string() }
    }

    fn columns(&self) -> Vec<String> {
        let nodes = self.nodes.iter().map(|node| name(*node));
        self.callers.iter().cloned().chain(nodes).chain(self.callees.iter().cloned()).collect()
    }

    /// At the left who asks first, by a request from there or a response towards it (what the request said may have died
    /// with its node); in the middle the nodes, at the right everybody else.
    fn place(&mut self, line: &Line) {
        for node in [Some(line.node), line.told.with].into_iter().flatten() {
            if let Err(at) = self.nodes.binary_search(&node) {
                self.nodes.insert(at, node);
            }
        }
        let Some(peer) = line.told.peer.filter(|_| is_message(&line.told)).map(|peer| peer.to_string()) else { return };
        if self.callers.contains(&peer) || self.callees.contains(&peer) {
            return;
        }
        let asks = (line.told.event == "in") == line.told.status.is_none();
        match asks && self.callers.is_empty() {
            true => self.callers.push(peer),
            false => self.callees.push(peer),
        }
    }
}

fn line(answer: &Answer, told: &Told) -> Line {
    let at = timestamp(WallMillis(told.at_us / 1000));
    Line { at, node: answer.node, boot: answer.boot, worker: answer.worker, told: told.clone() }
}

fn name(node: NodeId) -> String {
    format!("cc-node-{node}")
}

/// It came from the outside, or left for it.
fn is_message(told: &Told) -> bool {
    matches!(told.event.as_str(), "in" | "out")
}

fn draw(ladder: &mut Ladder, line: &Line) {
    let (told, us) = (&line.told, name(line.node));
    let at = told.at_us as f64 / 1000.0;
    let peer = told.peer.map(|peer| peer.to_string());
    let other = told.with.map(name);
    match (told.event.as_str(), peer, other) {
        ("in", Some(peer), _) => ladder.message(at, &peer, &us, label(told)),
        ("out", Some(peer), _) => {
            let backed = told.why.as_deref() == Some("acknowledged");
            let mark = if backed { format!(" {BACKED}") } else { String::new() };
            ladder.message(at, &us, &peer, label(told) + &mark);
            if told.why.as_deref() == Some("unprotected") {
                ladder.note(at, format!("{us}  {} left without a backup: none had its record in time", label(told)));
            }
        }
        ("asks", _, Some(other)) => ladder.message(at, &us, &other, format!("{}: yours?", label(told))),
        ("says_mine", _, Some(other)) => ladder.message(at, &us, &other, "mine"),
        ("says_not_mine", _, Some(other)) => ladder.message(at, &us, &other, "not mine"),
        _ => ladder.note(at, format!("{us}  {}", decision(told))),
    }
}

/// `INVITE`, `180 Ringing`, `200 OK (BYE)`.
fn label(told: &Told) -> String {
    let method = told.method.as_deref().unwrap_or("a message");
    let text = match (told.status, method) {
        (None, method) => method.to_string(),
        (Some(status), "INVITE") => format!("{status} {}", reason_phrase(status)),
        (Some(status), method) => format!("{status} {} ({method})", reason_phrase(status)),
    };
    printable(&text)
}

fn decision(told: &Told) -> String {
    let what = match told.cseq {
        Some(cseq) => format!("{} of CSeq {cseq}", label(told)),
        None => label(told),
    };
    let other = told.with.map_or_else(|| "another node".to_string(), name);
    let why = told.why.as_deref().unwrap_or("-");
    let peer = told.peer.map_or_else(|| "whoever was asked".to_string(), |peer| peer.to_string());
    printable(&match told.event.as_str() {
        "heard_mine" => format!("passed the message on to {other}, which holds its transaction"),
        "heard_not_mine" => format!("heard from {other} that it holds nothing of it"),
        "unanswered" => format!("dropped {what}: nobody has said in time who holds it; its sender sends it again"),
        "took_up" => format!("took the call up from {other}"),
        "probes" => format!("probe: sends the INVITE of the node that has died to {peer} again"),
        "forgot" => "was removed from the placement, and forgot all its calls".to_string(),
        "repeat" => format!("absorbed {what}: a retransmission"),
        "dropped" => format!("dropped {what}: {why}"),
        "refused" => format!("refused {what}: {why}"),
        "blindly" => format!("passes {what} on without knowledge of its call: {why}"),
        "cdr" => "wrote the call detail record".to_string(),
        "panicked" => "ALARM: failed at a message of the call, and dropped the call; its log says more".to_string(),
        other => format!("{other} {why}"),
    })
}

/// Below the ladder: its sign, and what may be missing from it.
pub fn remarks(heard: &[Heard], lines: &[Line]) -> Vec<String> {
    let mut remarks = Vec::new();
    if lines.iter().any(|line| line.told.event == "out" && line.told.why.as_deref() == Some("acknowledged")) {
        remarks.push(format!("{BACKED} left when a backup had acknowledged its record"));
    }
    let begin = lines.first().map_or(0, |line| line.told.at_us);
    for Heard { node, answer } in heard {
        let node = name(*node);
        match answer {
            Err(why) => remarks.push(format!("{}; what it did is missing", printable(why))),
            Ok(answer) if answer.size == 0 => remarks.push(records_nothing(&node)),
            Ok(answer) => {
                if answer.left_out > 0 {
                    remarks.push(format!("{node}: {} older entries of the call are left out", answer.left_out));
                }
                match answer.oldest_us {
                    Some(oldest) if oldest > begin => {
                        let clock = ladder::time_of_day(oldest / 1000);
                        remarks.push(format!(
                            "{node} remembers nothing before {clock}; what it did until then is missing"
                        ));
                    }
                    None => remarks.push(format!("{node} has just been started, and remembers nothing")),
                    Some(_) => {}
                }
            }
        }
    }
    remarks
}

/// Nobody remembers anything: why that may be.
pub fn nothing(call_id: &str, heard: &[Heard]) -> String {
    let mut text = format!(
        "nothing is recorded of Call-ID {}: either no node has met it (is it written as in the messages?), or it is older \
         than what they remember",
        printable(call_id)
    );
    for Heard { node, answer } in heard {
        let node = name(*node);
        let line = match answer {
            Err(why) => printable(why),
            Ok(answer) if answer.size == 0 => records_nothing(&node),
            Ok(answer) => match answer.oldest_us {
                Some(oldest) => {
                    let age = duration(answer.now_us.saturating_sub(oldest) as f64 / 1e6);
                    format!("the oldest entry of {node} is {age} old")
                }
                None => format!("{node} has recorded nothing since its start"),
            },
        };
        text.push('\n');
        text.push_str(&line);
    }
    text
}

fn records_nothing(node: &str) -> String {
    format!("{node} records nothing: limits.trace_entries of the rack file is 0")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 12:03:04.000 of a day.
    const NOON: u64 = 1_763_812_984_000_000;

    fn told(seq: u64, ms: f64, event: &str) -> Told {
        Told { seq, at_us: NOON + (ms * 1000.0) as u64, event: event.into(), ..Told::default() }
    }

    fn message(seq: u64, ms: f64, event: &str, what: (&str, u16), peer: &str) -> Told {
        let (method, status) = (Some(what.0.to_string()), Some(what.1).filter(|status| *status > 0));
        Told { method, status, cseq: Some(1), peer: peer.parse().ok(), ..told(seq, ms, event) }
    }

    fn with(node: u16, told: Told) -> Told {
        Told { with: Some(NodeId(node)), ..told }
    }

    fn why(why: &str, told: Told) -> Told {
        Told { why: Some(why.into()), ..told }
    }

    fn heard(node: u16, entries: Vec<Told>) -> Heard {
        let (oldest_us, now_us) = (Some(NOON - 90_000_000), NOON + 1_000_000);
        let answer =
            Answer { node: NodeId(node), boot: BootId(1), size: 100, oldest_us, now_us, entries, ..Answer::default() };
        Heard { node: NodeId(node), answer: Ok(answer) }
    }

    const ALICE: &str = "10.0.0.1:5060";
    const BOB: &str = "10.0.0.2:5060";

    /// A call rings at node 1, which dies and comes back; node 2 goes on with it, and hears of its end by way of node 1.
    fn taken_up() -> Vec<Heard> {
        let first = vec![
            message(7, 0.0, "in", ("INVITE", 0), ALICE),
            message(8, 0.1, "out", ("INVITE", 100), ALICE),
            why("acknowledged", message(9, 1.2, "out", ("INVITE", 0), BOB)),
        ];
        let second = vec![
            with(1, told(40, 412.0, "took_up")),
            Told { peer: BOB.parse().ok(), ..told(41, 412.0, "probes") },
            why("unprotected", message(42, 512.1, "out", ("INVITE", 0), BOB)),
            message(43, 530.0, "in", ("INVITE", 200), BOB),
            with(1, message(44, 900.4, "says_mine", ("BYE", 0), ALICE)),
            told(45, 901.0, "cdr"),
        ];
        let back = vec![
            message(0, 900.0, "in", ("BYE", 0), ALICE),
            with(2, message(1, 900.2, "asks", ("BYE", 0), ALICE)),
            with(2, told(2, 900.6, "heard_mine")),
        ];
        let mut back = heard(1, back);
        if let Ok(answer) = &mut back.answer {
            (answer.boot, answer.oldest_us) = (BootId(2), Some(NOON + 899_000));
        }
        vec![heard(2, second), heard(1, first), back]
    }

    #[test]
    fn a_call_that_was_taken_up_is_one_ladder() {
        let mut story = Story::default();
        let lines = story.fresh(&taken_up(), false);
        let text = story.draw(&lines);
        let shown: Vec<String> = text.lines().map(|l| l.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
        let wanted = [
            "UTC 10.0.0.1:5060 cc-node-1 cc-node-2 10.0.0.2:5060",
            "12:03:04.000 │──────── INVITE ────────▶│ │ │",
            "12:03:04.000 │◀───── 100 Trying ───────│ │ │",
            "12:03:04.001 │ │──────────────────── INVITE ✓ ────────────────────▶│",
            "12:03:04.412 · cc-node-2 took the call up from cc-node-1",
            "12:03:04.412 · cc-node-2 probe: sends the INVITE of the node that has died to 10.0.0.2:5060 again",
            "12:03:04.512 │ │ │──────── INVITE ────────▶│",
            "12:03:04.512 · cc-node-2 INVITE left without a backup: none had its record in time",
            "12:03:04.530 │ │ │◀─────── 200 OK ─────────│",
            "12:03:04.900 │────────── BYE ─────────▶│ │ │",
            "12:03:04.900 │ │────── BYE: yours? ─────▶│ │",
            "12:03:04.900 │ │◀──────── mine ──────────│ │",
            "12:03:04.900 · cc-node-1 passed the message on to cc-node-2, which holds its transaction",
            "12:03:04.901 · cc-node-2 wrote the call detail record",
        ];
        assert_eq!(shown, wanted, "\n{text}");
        let remarks = remarks(&taken_up(), &lines);
        let missing = "cc-node-1 remembers nothing before 12:03:04.899; what it did until then is missing";
        assert_eq!(remarks, ["✓ left when a backup had acknowledged its record", missing]);
    }

    #[test]
    fn what_died_with_a_node_leaves_the_caller_at_the_left_and_its_answers_in_words() {
        let entries = vec![
            with(1, told(0, 0.0, "took_up")),
            message(1, 0.1, "out", ("INVITE", 100), ALICE),
            message(2, 0.2, "out", ("INVITE", 0), BOB),
            with(1, told(3, 0.3, "heard_not_mine")),
            with(3, told(4, 0.3, "heard_not_mine")),
        ];
        let third = heard(3, vec![with(2, told(9, 0.2, "says_not_mine"))]);
        let mut story = Story::default();
        let lines = story.fresh(&[heard(2, entries), third], false);
        let text = story.draw(&lines);
        let heads: Vec<&str> = text.lines().next().unwrap_or_default().split_whitespace().collect();
        assert_eq!(heads, ["UTC", ALICE, "cc-node-1", "cc-node-2", "cc-node-3", BOB]);
        assert!(text.contains("heard from cc-node-1") && !text.contains("heard from cc-node-3"), "{text}");
    }

    #[test]
    fn entries_of_one_moment_stand_by_node_and_number() {
        let same = |node, seqs: [u64; 2]| heard(node, seqs.map(|seq| told(seq, 5.0, "in")).into());
        let lines = Story::default().fresh(&[same(2, [3, 4]), same(1, [8, 9])], false);
        let order: Vec<(u16, u64)> = lines.iter().map(|line| (line.node.0, line.told.seq)).collect();
        assert_eq!(order, [(1, 8), (1, 9), (2, 3), (2, 4)]);
    }

    #[test]
    fn what_follows_is_shown_once_and_in_order() {
        let mut story = Story::default();
        let early = |ms: f64, entries| {
            let mut heard = heard(1, entries);
            if let Ok(answer) = &mut heard.answer {
                answer.now_us = NOON + (ms * 1000.0) as u64;
            }
            heard
        };
        let one = || message(0, 0.0, "in", ("INVITE", 0), ALICE);
        let two = || message(1, 30.0, "out", ("INVITE", 100), ALICE);
        let other = || message(0, 20.0, "out", ("INVITE", 0), BOB);
        // Node 2 is asked later, and has something that may stand behind what node 1 will say.
        let lines = story.fresh(&[early(10.0, vec![one()]), heard(2, vec![other()])], true);
        assert_eq!(lines.len(), 1);
        assert!(story.draw(&lines).contains("UTC"));
        let lines = story.fresh(&[early(40.0, vec![one(), two()]), heard(2, vec![other()])], true);
        let order: Vec<(u16, u64)> = lines.iter().map(|line| (line.node.0, line.told.seq)).collect();
        assert_eq!(order, [(2, 0), (1, 1)]);
        assert!(story.draw(&lines).contains("10.0.0.2:5060"), "another column");
        let lines = story.fresh(&[early(50.0, vec![one(), two(), message(2, 45.0, "in", ("ACK", 0), ALICE)])], true);
        assert_eq!(lines.len(), 1);
        assert_eq!(story.draw(&lines).lines().count(), 1, "the same columns");
        assert!(story.fresh(&[early(60.0, vec![one(), two()])], true).is_empty());
    }

    #[test]
    fn nothing_is_said_with_what_may_be_the_reason() {
        let off = Heard { node: NodeId(2), answer: Ok(Answer { node: NodeId(2), ..Answer::default() }) };
        let dead = Heard { node: NodeId(3), answer: Err("cc-node 3 does not answer".into()) };
        let text = nothing("a\u{1b}[2J\u{9b}31m", &[heard(1, vec![]), off, dead]);
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[0].starts_with("nothing is recorded of Call-ID a?[2J?31m: "), "{text}");
        assert_eq!(lines[1], "the oldest entry of cc-node-1 is 1 min old");
        assert_eq!(lines[2], "cc-node-2 records nothing: limits.trace_entries of the rack file is 0");
        assert_eq!(lines[3], "cc-node 3 does not answer");
    }

    #[test]
    fn every_decision_has_words() {
        use cc_node::problems::Blind;
        use cc_node::stats::{DropReason, Rejection};
        use cc_node::trace::Event;
        let heard = |mine| Event::Heard { from: NodeId(2), mine };
        for event in [
            Event::TookUp(NodeId(2)),
            heard(true),
            heard(false),
            Event::Unanswered,
            Event::Probes,
            Event::Forgot,
            Event::Repeat,
            Event::Dropped(DropReason::Inheriting),
            Event::Refused(Rejection::Full),
            Event::Blindly(Blind::Request),
            Event::Cdr,
            Event::Panicked,
        ] {
            let words = decision(&why("w", with(2, message(0, 0.0, event.label(), ("BYE", 0), ALICE))));
            assert_ne!(words, format!("{} w", event.label()));
        }
    }

    #[test]
    fn an_entry_is_an_object() {
        let lines = Story::default().fresh(&[heard(1, vec![message(3, 0.0, "in", ("INVITE", 0), ALICE)])], false);
        let wanted = serde_json::json!({
            "at": "2025-11-22T12:03:04.000Z", "at_us": NOON, "node": 1, "boot": 1, "worker": 0, "seq": 3,
            "event": "in", "method": "INVITE", "cseq": 1, "peer": ALICE,
        });
        assert_eq!(serde_json::to_value(&lines[0]).ok(), Some(wanted));
    }
}
