//! `siprack trace`: asks every node of the rack for what it remembers of a call, once or again and again.

use super::client::{Client, escaped};
use super::terminal::print;
use crate::args::Trace;
use crate::explanation;
use crate::failure::{Failure, exit};
use crate::trace::{Heard, Line, Story, nothing, remarks};
use common::config::CcNode;
use std::io::{ErrorKind, Write};
use std::time::Duration;

/// Between two looks of `--follow`.
const AGAIN: Duration = Duration::from_millis(500);

pub fn run(args: &Trace) -> Result<u8, Failure> {
    let client = Client::at(&args.asking.at);
    let nodes = client.rack()?.cc_nodes;
    let path = format!("/trace?call_id={}", escaped(&args.call_id));
    if !args.asking.json {
        print(&heading(&client, &args.call_id))?;
    }
    let mut story = Story::default();
    if args.follow {
        return follow(&mut story, args.asking.json, || ask(&client, &nodes, &path));
    }
    let heard = ask(&client, &nodes, &path);
    let lines = story.fresh(&heard, false);
    if lines.is_empty() {
        return Err(Failure::new(exit::FAILED, nothing(&args.call_id, &heard)));
    }
    let text = shown(&mut story, &lines, args.asking.json);
    let remarks = if args.asking.json { Vec::new() } else { remarks(&heard, &lines) };
    print(&format!("{text}\n{}", remarks.join("\n")))
}

/// Until it is interrupted, or nobody reads any more.
fn follow(story: &mut Story, json: bool, ask: impl Fn() -> Vec<Heard>) -> Result<u8, Failure> {
    loop {
        let lines = story.fresh(&ask(), true);
        let mut stdout = std::io::stdout().lock();
        match stdout.write_all(shown(story, &lines, json).as_bytes()).and_then(|()| stdout.flush()) {
            Ok(()) => std::thread::sleep(AGAIN),
            Err(e) if e.kind() == ErrorKind::BrokenPipe => return Ok(0),
            Err(e) => return Err(Failure::new(exit::FAILED, format!("standard output: {e}"))),
        }
    }
}

fn shown(story: &mut Story, lines: &[Line], json: bool) -> String {
    match json {
        true => lines.iter().filter_map(|line| serde_json::to_string(line).ok()).map(|line| line + "\n").collect(),
        false if lines.is_empty() => String::new(),
        false => story.draw(lines),
    }
}

/// Where the load manager sends the call now. A trace is shown without it, too.
fn heading(client: &Client, call_id: &str) -> String {
    let answer = client.load_manager(&format!("/explain?call_id={}", escaped(call_id))).and_then(|a| a.good());
    match answer {
        Ok(answer) => explanation::in_words(call_id, &answer) + "\n",
        Err(failure) => format!("the load manager does not say where the call belongs: {}\n", failure.message),
    }
}

/// All at once: one that does not answer holds up none of the others.
fn ask(client: &Client, nodes: &[CcNode], path: &str) -> Vec<Heard> {
    let one = |node: &CcNode| {
        let answer = client.node(node, path).and_then(|answer| answer.good());
        let other = |e| format!("cc-node {} is of another version ({e})", node.id);
        let read = |answer| serde_json::from_value(answer).map_err(other);
        let answer = answer.map_err(|failure| failure.message).and_then(read);
        Heard { node: node.id, answer }
    };
    std::thread::scope(|scope| {
        let asked: Vec<_> = nodes.iter().map(|node| scope.spawn(move || one(node))).collect();
        asked.into_iter().filter_map(|thread| thread.join().ok()).collect()
    })
}
