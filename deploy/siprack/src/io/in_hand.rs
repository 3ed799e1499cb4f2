//! The memory in which each node's workers say what they have in hand: made once, passed to every incarnation, and emptied
//! when one has ended that did not die of itself ([`crate::poison`]).

use crate::failure::{Failure, exit};
use crate::poison::died_of_itself;
use crate::services::{Kind, Service};
use common::config::Rack;
use common::ids::NodeId;
use common::io::fds;
use common::io::in_hand::InHand;
use std::os::fd::OwnedFd;

/// Of each service; none of those that are no nodes.
pub struct Hands(Vec<Option<InHand>>);

impl Hands {
    pub fn open(rack: &Rack, services: &[Service]) -> Result<Hands, Failure> {
        let of = |service: &Service| {
            let node = rack.node(NodeId(service.id)).filter(|_| service.kind == Kind::CcNode);
            node.map(|node| InHand::create(node.workers.into())).transpose()
        };
        let hands: Result<Vec<_>, _> = services.iter().map(of).collect();
        hands.map(Hands).map_err(|e| Failure::new(exit::FAILED, format!("cannot make memory for the nodes: {e}")))
    }

    /// To be passed to the service at this place.
    pub fn of(&self, at: usize) -> Option<(&'static str, &OwnedFd)> {
        let in_hand = self.0.get(at)?.as_ref()?;
        Some((fds::IN_HAND, in_hand.memory()))
    }

    /// It has ended, by this signal if by one. How many messages its successor will shut out.
    pub fn ended(&self, at: usize, signal: Option<i32>) -> usize {
        let Some(Some(in_hand)) = self.0.get(at) else { return 0 };
        if !died_of_itself(signal) {
            in_hand.clear();
        }
        in_hand.all().len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::services::of_this_machine;
    use rustix::process::Signal;

    #[test]
    fn what_was_in_hand_stays_for_the_successor_of_one_that_died_of_itself() {
        let rack = Rack::one_machine_default(2).expand();
        let services = of_this_machine(&rack, |_| true);
        let hands = Hands::open(&rack, &services).expect("memory");
        let nodes: Vec<usize> = (0..services.len()).filter(|at| hands.of(*at).is_some()).collect();
        assert_eq!(nodes, [2, 3], "behind location server and load manager");
        let open = |at: usize| InHand::open(hands.of(at)?.1.try_clone().ok()?).ok();
        let childs = open(2).expect("the child's");
        assert_eq!(hands.ended(2, Some(Signal::ABORT.as_raw())), 0, "it had nothing in hand");
        for (signal, left) in [(Some(Signal::KILL), 0), (None, 0), (Some(Signal::SEGV), 1)] {
            childs.take(0, b"BYE");
            assert_eq!(hands.ended(2, signal.map(Signal::as_raw)), left, "{signal:?}");
        }
        assert_eq!((childs.all(), hands.ended(3, None), hands.ended(0, None)), (vec![b"BYE".to_vec()], 0, 0));
    }
}
