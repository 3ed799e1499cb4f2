//! Why a datagram on the control socket changed nothing. Each is a metric label of its own.

/// Closed set; the order is that of [`Refusal::ALL`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Refusal {
    /// Neither a heartbeat nor a control message, too short, or of an unknown kind or version.
    Malformed,
    /// The MAC is not by this rack's key.
    Mac,
    /// Under a plane key that has been turned away from.
    OldKey,
    /// A heartbeat of version 1, which `heartbeat.accept_v1` does not accept, or that bears the id of a cc-node.
    Foreign,
    /// Not a node of the rack file; or a foreign node, whose heartbeat is not of version 1.
    UnknownNode,
    /// Not from that node's address on the plane it names, or not from that foreign node's.
    WrongSource,
    /// An incarnation that is known to be dead.
    RetiredBoot,
    /// Not newer than what was heard.
    OldSequence,
    /// Quotes no beacon of ours, or one that is too old.
    StaleNonce,
    /// A worker of the node stands still.
    NoProgress,
    /// A beacon: a second load manager is at work.
    OtherLoadManager,
}

impl Refusal {
    pub const ALL: [Refusal; 11] = [
        Refusal::Malformed,
        Refusal::Mac,
        Refusal::OldKey,
        Refusal::Foreign,
        Refusal::UnknownNode,
        Refusal::WrongSource,
        Refusal::RetiredBoot,
        Refusal::OldSequence,
        Refusal::StaleNonce,
        Refusal::NoProgress,
        Refusal::OtherLoadManager,
    ];

    pub fn label(self) -> &'static str {
        match self {
            Refusal::Malformed => "malformed",
            Refusal::Mac => "mac",
            Refusal::OldKey => "old_key",
            Refusal::Foreign => "foreign",
            Refusal::UnknownNode => "unknown_node",
            Refusal::WrongSource => "wrong_source",
            Refusal::RetiredBoot => "retired_boot",
            Refusal::OldSequence => "old_sequence",
            Refusal::StaleNonce => "stale_nonce",
            Refusal::NoProgress => "no_progress",
            Refusal::OtherLoadManager => "other_load_manager",
        }
    }
}
