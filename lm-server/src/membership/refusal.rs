//! Why a datagram on the control socket changed nothing. Each is a metric label of its own.

/// Closed set; the order is that of [`Refusal::ALL`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Refusal {
    /// Neither a heartbeat nor a control message, too short, or of an unknown kind or version.
    Malformed,
    /// The MAC is not by this rack's key.
    Mac,
    /// A version 1 heartbeat: a foreign node, which this load manager does not serve.
    Foreign,
    /// Not a node of the rack file.
    UnknownNode,
    /// Not from that node's address on the plane it names.
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
    pub const ALL: [Refusal; 10] = [
        Refusal::Malformed,
        Refusal::Mac,
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
