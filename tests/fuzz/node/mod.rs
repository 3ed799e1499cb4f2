//! Sequences: phones, a carrier and liars say anything in any order to a whole engine, while time passes. Most messages
//! follow from what was said before (a response to a request that arrived, an ACK, a request in a dialog), with fields
//! that are another's, and some are broken. [`watch`] says what must hold at every step; in the end all is at rest.

pub mod bench;
mod play;
pub mod watch;

use super::choices::{Choices, at_length};
use super::fuzz;
use bench::{OPEN, bench, rack};
use common::config::Rack;
use play::Play;
use std::sync::{Arc, LazyLock};

static RACK: LazyLock<Arc<Rack>> = LazyLock::new(|| rack(OPEN));

fn check(octets: &[u8]) {
    let mut choices = Choices::new(octets);
    let mut play = Play::new(bench(&RACK, "rack.test"));
    for _ in 0..150 {
        if choices.are_over() {
            break;
        }
        play.step(&mut choices);
    }
    play.bench.comes_to_rest();
}

#[test]
fn fuzz() {
    fuzz!("node", 600, |octets: &[u8]| at_length(octets, 1500, check));
}
