//! I2: one ring a call, and no ringing after its end.

use crate::simulation::{PhoneId, Simulation};
use siprack::phone::Event;
use std::collections::BTreeMap;

/// Each call that came to this phone rang exactly once.
pub fn check(s: &Simulation, callee: PhoneId) -> Result<(), String> {
    let mut rings: BTreeMap<&str, u32> = BTreeMap::new();
    for event in s.events(callee) {
        match event {
            Event::Incoming { call_id, .. } => *rings.entry(call_id).or_default() += 1,
            Event::RangTwice { call_id } => return Err(format!("{call_id} came with a second branch\n{}", s.story())),
            _ => {}
        }
    }
    match rings.iter().find(|(_, count)| **count != 1) {
        Some((call_id, count)) => Err(format!("{call_id} rang {count} times\n{}", s.story())),
        None => Ok(()),
    }
}
