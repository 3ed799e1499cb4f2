//! `siprack drain` and `siprack undrain`: orders to one node's admin port, and the wait until it holds no calls.

use super::client::Client;
use super::operator::pretty;
use super::terminal::print;
use crate::args::{Drain, OneNode};
use crate::draining::{self, Holds, Verdict, Waiting};
use crate::failure::{Failure, exit};
use common::config::CcNode;
use common::time::{Duration, Time};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};
use std::time::Instant;

/// Between two looks at the node; its counters are renewed more often than that.
const LOOK: Duration = Duration::from_millis(500);

pub fn drain(args: &Drain) -> Result<u8, Failure> {
    let client = Client::at(&args.one.asking.at);
    let (node, agent) = find(&client, &args.one)?;
    client.node_order(&node, "/drain")?.good()?;
    let calls = holds(&client, &node)?.calls;
    let json = args.one.asking.json;
    if !json {
        print(&draining::begun(node.id.0, calls, draining::others_take(&agent, node.id.0)))?;
    }
    let waited = args.wait.then(|| wait(&client, &node, args.timeout, calls));
    let left = waited.as_ref().map_or(calls, |waited| waited.calls);
    if json {
        print(&pretty(&json!({ "id": node.id, "draining": true, "calls": left })))?;
    }
    match waited {
        Some(Waited { failure: Some(failure), .. }) => Err(failure),
        Some(_) if !json => print(&format!("cc-node {} holds no calls any more", node.id)),
        _ => Ok(0),
    }
}

pub fn undrain(one: &OneNode) -> Result<u8, Failure> {
    let client = Client::at(&one.asking.at);
    let (node, _) = find(&client, one)?;
    let answer = client.node_order(&node, "/undrain")?.good()?;
    let said = format!("cc-node {} is not drained any more: it gets its share of the new calls again", node.id);
    print(&if one.asking.json { pretty(&answer) } else { said })
}

/// The node that is meant, and what the agent says of the rack.
fn find(client: &Client, one: &OneNode) -> Result<(CcNode, Value), Failure> {
    // The rack file stays behind when a rack ends; only a running agent answers this.
    let agent = client.status()?;
    let rack = client.rack()?;
    let known: Vec<u16> = rack.cc_nodes.iter().map(|node| node.id.0).collect();
    // As with any wrong argument.
    let id = draining::node_named(&one.node, &known).map_err(|e| Failure::new(exit::NO_RACK, e))?;
    let node = rack.cc_nodes.into_iter().find(|node| node.id.0 == id);
    let node = node.ok_or_else(|| Failure::new(exit::CONFIG, format!("the rack file has no cc-node {id}")))?;
    Ok((node, agent))
}

fn holds(client: &Client, node: &CcNode) -> Result<Holds, Failure> {
    let status = client.node_status(node)?.good()?;
    let other = || Failure::new(exit::REFUSED, format!("the status of cc-node {} is of another version", node.id));
    Holds::from_json(&status).ok_or_else(other)
}

struct Waited {
    /// As far as is known.
    calls: u64,
    /// Why it is over although it may hold calls still.
    failure: Option<Failure>,
}

/// `timeout` in seconds; none: for as long as the longest call.
fn wait(client: &Client, node: &CcNode, timeout: Option<f64>, mut calls: u64) -> Waited {
    let id = node.id;
    // Shown on a terminal only.
    let line = ProgressBar::new_spinner();
    if let Ok(style) = ProgressStyle::with_template("{spinner} {msg}  {elapsed}") {
        line.set_style(style);
    }
    let begun = Instant::now();
    let mut waiting = Waiting::default();
    let over = loop {
        let answer = holds(client, node);
        calls = answer.as_ref().map_or(calls, |holds| holds.calls);
        line.set_message(draining::left(id.0, calls));
        line.tick();
        let now = Time(begun.elapsed().as_micros() as u64);
        let (silent, answer) = match answer {
            Ok(holds) => (None, Some(holds)),
            Err(failure) => (Some(failure), None),
        };
        match waiting.hears(now, answer) {
            Verdict::Wait => {}
            Verdict::Empty => break None,
            Verdict::Silent => break silent,
            Verdict::Undrained => {
                let what = format!("cc-node {id} was undrained meanwhile; calls on it: {calls}");
                break Some(Failure::new(exit::FAILED, what));
            }
        }
        if timeout.is_some_and(|seconds| begun.elapsed().as_secs_f64() >= seconds) {
            let what = format!("calls still on cc-node {id}: {calls}; it goes on draining, `--wait` waits again");
            break Some(Failure::new(exit::FAILED, what));
        }
        std::thread::sleep(LOOK);
    };
    line.finish_and_clear();
    Waited { calls, failure: over }
}
