//! What workers have in hand, where the agent and the next process find it; and what the process before this one died over.

use super::shared::Shared;
use crate::quarantine::{Fingerprint, STAYS};
use common::io::fds::{IN_HAND, Passed};
use common::io::in_hand::InHand;
use common::io::start::StartError;
use common::time::Time;
use std::sync::Arc;

/// The memory that the agent passed on (without an agent nobody would find anything in it), and the messages that it held: no
/// worker handles them again, and one is to tell the other nodes.
///
/// # Errors
/// What was passed is something else.
pub fn open(shared: &Shared, now: Time) -> Result<(Arc<InHand>, Vec<Fingerprint>), StartError> {
    let workers = usize::from(shared.config.workers);
    let passed = Passed::take().map(|mut passed| passed.memory(IN_HAND));
    let opened = passed.and_then(|memory| memory.map_or_else(|| InHand::create(workers), InHand::open));
    let in_hand = opened.map_err(|e| StartError::io("what workers have in hand", e))?;
    let left = in_hand.all();
    in_hand.clear();
    let of = left.len();
    let mut suspects = Vec::new();
    for octets in left {
        let (message, call_id) = (Fingerprint::of(&shared.keys.quarantine, &octets), common::sip::call_id(&octets));
        let call_id = call_id.map(String::from_utf8_lossy);
        tracing::error!(?call_id, %message, of, "ALARM: the process before this one died over this message, or another; quarantined");
        shared.shut_out(now, message, now + STAYS);
        suspects.push(message);
    }
    Ok((Arc::new(in_hand), suspects))
}
