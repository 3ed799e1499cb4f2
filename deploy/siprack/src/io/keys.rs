//! `siprack keys` and `siprack keys turn`: which keys stand, and an order to the load manager with the wait until every node
//! has followed.

use super::client::Client;
use super::operator::pretty;
use super::terminal::print;
use crate::args::{Asking, Keys, KeysOrder, Turn};
use crate::failure::{Failure, exit};
use crate::rotation::{self, Spread};
use common::io::clock::Clock;
use common::keys::Generations;
use common::time::Duration;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;
use std::time::Instant;

/// Between two looks at the load manager; it says a heartbeat's news within a tenth of a second.
const LOOK: Duration = Duration::from_millis(100);
/// A node that is heard follows within a heartbeat or two.
const PATIENCE: Duration = Duration::from_secs(10);

pub fn run(args: &Keys) -> Result<u8, Failure> {
    match &args.order {
        None => show(&args.asking),
        Some(KeysOrder::Turn(order)) => turn(order),
    }
}

fn show(asking: &Asking) -> Result<u8, Failure> {
    let answer = Client::at(&asking.at).load_manager("/keys")?.good()?;
    print(&if asking.json { pretty(&answer) } else { rotation::table(&answer, Clock::new().wall()) })
}

fn turn(order: &Turn) -> Result<u8, Failure> {
    let client = Client::at(&order.asking.at);
    let now = if order.now { "&now=true" } else { "" };
    let path = format!("/keys/turn?use={}{now}", order.what.label());
    let answer = client.load_manager_order(&path)?.good()?;
    let wanted = rotation::ordered(&answer).ok_or_else(other_version)?;
    let (spread, failure) = match wait(&client, &wanted) {
        Ok(spread) if spread.is_whole() => (Some(spread), None),
        Ok(spread) => {
            let what = spread.complaint(PATIENCE.as_secs());
            (Some(spread), Some(Failure::new(exit::FAILED, what)))
        }
        Err(failure) => (None, Some(failure)),
    };
    let followed = spread.map(|spread| spread.followed).unwrap_or_default();
    if order.asking.json {
        print(&pretty(&json!({ "keys": wanted, "followed": followed, "whole": failure.is_none() })))?;
    }
    match failure {
        Some(failure) => Err(failure),
        None if order.asking.json => Ok(0),
        None => print(&rotation::turned(order.what.uses(), &wanted, followed.len())),
    }
}

/// Until all have followed or patience is over; how far it has come then.
fn wait(client: &Client, wanted: &Generations) -> Result<Spread, Failure> {
    // Shown on a terminal only.
    let line = ProgressBar::new_spinner();
    if let Ok(style) = ProgressStyle::with_template("{spinner} {msg}  {elapsed}") {
        line.set_style(style);
    }
    let begun = Instant::now();
    let last = loop {
        // A load manager that is restarted meanwhile answers again, with the keys turned.
        let spread = look(client, wanted);
        let whole = spread.as_ref().is_ok_and(Spread::is_whole);
        if whole || begun.elapsed() >= PATIENCE {
            break spread;
        }
        if let Ok(spread) = &spread {
            line.set_message(spread.waits_for());
        }
        line.tick();
        std::thread::sleep(LOOK);
    };
    line.finish_and_clear();
    last
}

fn look(client: &Client, wanted: &Generations) -> Result<Spread, Failure> {
    let status = client.load_manager("/status")?.good()?;
    Spread::from_json(&status, wanted).ok_or_else(other_version)
}

fn other_version() -> Failure {
    Failure::new(exit::REFUSED, "the load manager's answer is of another version")
}
