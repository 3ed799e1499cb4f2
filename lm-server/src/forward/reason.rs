//! Why a datagram on the packet path went nowhere. Each is a label of `siprack_dropped_total` of its own.

/// Closed set; the order is that of [`DropReason::ALL`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum DropReason {
    /// From outside: no SIP message by its first line.
    NotSip,
    /// From outside: STUN, but no Binding request.
    Stun,
    /// From outside: SIP without a Call-ID; which node it belongs to cannot be said.
    NoCallId,
    /// Longer than the rack file allows (`limits.message_bytes`), and nothing that could be answered 513.
    TooLong,
    /// Does not fit into one datagram together with the PROXY header, and nothing that could be answered 513.
    TooBig,
    /// No node is live: a response or an ACK, which nobody may answer, or a request too broken to be answered.
    NoNode,
    /// From a node: no PROXY header that can be read, or no SIP message behind it.
    ProxyMalformed,
    /// From a node: the header's MAC is not by this rack's key.
    ProxyMac,
    /// From a node: under a plane key that has been turned away from.
    ProxyOldKey,
    /// From a node: handed over too long ago; somebody has kept it.
    ProxyStale,
    /// From a node: the header does not say "to the outside, by UDP".
    ProxyDirection,
    /// From somebody who is no node of this rack.
    SenderUnknown,
    /// From an incarnation that is not in the placement.
    SenderDead,
    /// From a node that was removed and has not adopted the epoch that says so.
    SenderBehind,
    /// From a node: no such listener.
    ListenerUnknown,
    /// From a node: the destination is of another IP version than the listener, or no address at all.
    Destination,
    /// The socket did not take it.
    SendFailed,
}

impl DropReason {
    pub const COUNT: usize = DropReason::ALL.len();
    pub const ALL: [DropReason; 17] = [
        DropReason::NotSip,
        DropReason::Stun,
        DropReason::NoCallId,
        DropReason::TooLong,
        DropReason::TooBig,
        DropReason::NoNode,
        DropReason::ProxyMalformed,
        DropReason::ProxyMac,
        DropReason::ProxyOldKey,
        DropReason::ProxyStale,
        DropReason::ProxyDirection,
        DropReason::SenderUnknown,
        DropReason::SenderDead,
        DropReason::SenderBehind,
        DropReason::ListenerUnknown,
        DropReason::Destination,
        DropReason::SendFailed,
    ];

    pub fn label(self) -> &'static str {
        match self {
            DropReason::NotSip => "not_sip",
            DropReason::Stun => "stun",
            DropReason::NoCallId => "no_call_id",
            DropReason::TooLong => "too_long",
            DropReason::TooBig => "too_big",
            DropReason::NoNode => "no_node",
            DropReason::ProxyMalformed => "proxy_malformed",
            DropReason::ProxyMac => "proxy_mac",
            DropReason::ProxyOldKey => "proxy_old_key",
            DropReason::ProxyStale => "proxy_stale",
            DropReason::ProxyDirection => "proxy_direction",
            DropReason::SenderUnknown => "sender_unknown",
            DropReason::SenderDead => "sender_dead",
            DropReason::SenderBehind => "sender_behind",
            DropReason::ListenerUnknown => "listener_unknown",
            DropReason::Destination => "destination",
            DropReason::SendFailed => "send_failed",
        }
    }
}
