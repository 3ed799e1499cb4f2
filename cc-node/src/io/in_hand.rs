//! What workers have in hand, where the agent and the next process find it; and what the process before this one died over.

use super::shared::Shared;
use crate::quarantine::{Fingerprint, STAYS};
use common::io::fds::{IN_HAND, Passed};
use common::io::in_hand::InHand;
use common::io::start::StartError;
use common::time::Time;
use std::collections::BTreeSet;
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
    let suspects: BTreeSet<Fingerprint> = in_hand.all().into_iter().map(Fingerprint).collect();
    in_hand.clear();
    let of = suspects.len();
    for message in &suspects {
        tracing::error!(%message, of, "ALARM: the process before this one died over this message, or others; quarantined");
        shared.shut_out(now, *message, now + STAYS);
    }
    Ok((Arc::new(in_hand), suspects.into_iter().collect()))
}
