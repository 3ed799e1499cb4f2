//! I6: one holder a call at any time, as seen on the wire. Who sends anything for an INVITE (the INVITE itself, its CANCEL,
//! responses but the 2xx, which a token lets anybody forward) holds it, until the load manager removes that incarnation.

use super::planes::Live;
use crate::hosts::actor::message::Message;
use common::ids::{BootId, NodeId};
use common::time::Time;
use common::wire::proxy::ProxyHeader;
use std::collections::BTreeMap;

#[derive(Default)]
pub struct Holders {
    /// By Call-ID, caller's tag and CSeq number; none = its holder was removed.
    held: BTreeMap<(String, String, u32), Option<Holder>>,
    /// Calls that a removed incarnation held: nobody has taken them over with their state.
    orphaned: BTreeMap<String, Time>,
}

#[derive(Clone, Copy, Debug)]
struct Holder {
    node: NodeId,
    boot: BootId,
    since: Time,
}

impl Holders {
    pub fn left(&mut self, live: &Live, now: Time, header: &ProxyHeader, message: &[u8]) -> Result<(), String> {
        let Some(message) = Message::parse(message) else { return Ok(()) };
        let of_invite = match message.is_request() {
            true => matches!(message.method(), "INVITE" | "CANCEL"),
            false => message.method() == "INVITE" && !(200..300).contains(&message.status()),
        };
        if !of_invite {
            return Ok(());
        }
        let key = (message.call_id().to_string(), message.from_tag(), message.cseq());
        let new = Holder { node: header.sender, boot: header.boot, since: now };
        // A response that belongs to nobody's transaction goes on by its token; that makes nobody its holder.
        let takes = message.is_request() || message.status() == 100;
        let holder = match self.held.get(&key).copied() {
            None => Some(new),
            Some(None) => takes.then_some(new),
            Some(Some(old)) if (old.node, old.boot) == (new.node, new.boot) => return Ok(()),
            Some(Some(old)) if live.removed.get(&(old.node, old.boot)).is_some_and(|at| *at >= old.since) => {
                self.orphaned.entry(key.0.clone()).or_insert(now);
                takes.then_some(new)
            }
            Some(Some(old)) => {
                return Err(format!(
                    "I6: node {} (boot {}) sends {} of {} {}, which node {} (boot {}) holds since {:?} and was not removed",
                    new.node, new.boot, message.first, key.0, key.2, old.node, old.boot, old.since
                ));
            }
        };
        self.held.insert(key, holder);
        Ok(())
    }

    /// Whether an incarnation that held anything of this call was removed since: then it may be lost.
    pub fn is_orphaned(&self, live: &Live, call_id: &str) -> bool {
        let removed = |h: &Holder| live.removed.get(&(h.node, h.boot)).is_some_and(|at| *at >= h.since);
        self.orphaned.contains_key(call_id)
            || self.held.iter().any(|((id, _, _), holder)| id == call_id && holder.as_ref().is_some_and(removed))
    }
}
