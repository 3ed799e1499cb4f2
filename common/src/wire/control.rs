//! What else is said on the control port.

use crate::ids::{BootId, Epoch, NodeId};
use crate::keys::Generations;
use crate::placement::Inputs;
use crate::placement::recent::Former;
use serde::{Deserialize, Serialize};

/// A node's answer to a beacon that is learning: the placement it has adopted, epoch 0 if none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    pub node: NodeId,
    pub boot: BootId,
    /// Of the beacon that it answers.
    pub nonce: u64,
    pub epoch: Epoch,
    pub inputs: Inputs,
    pub formers: Vec<Former>,
    /// Which keys stand for it, whatever it stands under; none: nobody has told it.
    pub keys: Option<Generations>,
}

/// An agent's word that it has reaped this incarnation of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stopped {
    pub node: NodeId,
    pub boot: BootId,
}
