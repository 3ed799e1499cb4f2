//! Bugs of the layers that say who holds a call and who goes on with it, to be planted on purpose: a list made before the
//! tests that must catch each of them. They are planted in how the simulated hosts drive the cores (`hosts::node::planted`
//! for who holds, `hosts::node::misled` for shadows), so the cores stay as they are.

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plant {
    /// A node sends whether it has a lease or not.
    NoLease,
    /// Its lease counts from when it heard the echo, not from when it sent the heartbeat.
    LeaseFromReceipt,
    /// It takes every beacon for an echo of its newest heartbeat.
    BeaconWithoutEcho,
    /// When it hears no beacons it takes itself for the only one alive, and goes on.
    OwnView,
    /// The load manager takes a node in again that does not know yet of its removal (it is slow to adopt epochs).
    ReturnOutsideAnEpoch,
    /// A heartbeat counts whatever beacon it quotes.
    AnyNonce,
    /// A new boot id is taken for the old process.
    NewBootIsNoDeath,
    /// Progress is reported while the workers stand still.
    FalseProgress,
    /// Who was removed keeps what it was doing.
    NoForgetting,
    /// Nobody knows what stood before.
    NoFormers,
    /// Nobody is told who holds calls that others would be given now.
    NoHolders,
    /// An answer that does not come is taken for `not mine`.
    SilenceIsNotMine,
    /// Who holds a call and is asked takes the message, but says `not mine`.
    HolderDenies,
    /// A load manager that slept judges the nodes by what it has not heard meanwhile.
    JudgesAsleep,
    /// A load manager that starts does not ask the nodes how they stand.
    LearnsNothing,
    /// A node that hears of a new key forgets the old one.
    ForgetsOldKeys,
    /// The 100 and the forwarded INVITE leave before a backup holds the call.
    TryingTooSoon,
    /// A refusal is acknowledged before a backup knows of it.
    RefusalAckedTooSoon,
    /// A BYE is answered before a backup holds the CDR.
    ByeAnsweredTooSoon,
    /// Who goes on asks nobody what he may have missed.
    ActsBeforeExchange,
    /// Who is silent for 20 ms has nothing to say.
    SilenceIsAnAnswer,
    /// A branch names the node that sends it.
    NodeInBranch,
    /// Who goes on asks again with a branch of its own.
    ProbeWithNewBranch,
    /// Who goes on waits for those whom the dead one has asked.
    NoProbe,
    /// Targets are not in the records.
    TargetsNotShadowed,
    /// Nor is the answer.
    AnswerNotShadowed,
    /// Who goes on tells nobody: it counts on the backups of the dead one.
    HeirKeepsToItself,
    /// A former backup is not told to let go, and what it holds is never checked.
    NeverReleases,
    /// Everybody who has a dead node's call goes on with it.
    TwoGoOn,
    /// A record is applied though the one before it is missing.
    GapApplied,
    /// A backup acknowledges what it does not keep.
    AckedUnread,
    /// Who goes on with an answered call does not write again that it has begun.
    StartNotRepeated,
    /// Who has panicked over a message tells nobody.
    PoisonKept,
}

impl Plant {
    pub const ALL: [Plant; 33] = [
        Plant::NoLease,
        Plant::LeaseFromReceipt,
        Plant::BeaconWithoutEcho,
        Plant::OwnView,
        Plant::ReturnOutsideAnEpoch,
        Plant::AnyNonce,
        Plant::NewBootIsNoDeath,
        Plant::FalseProgress,
        Plant::NoForgetting,
        Plant::NoFormers,
        Plant::NoHolders,
        Plant::SilenceIsNotMine,
        Plant::HolderDenies,
        Plant::JudgesAsleep,
        Plant::LearnsNothing,
        Plant::ForgetsOldKeys,
        Plant::TryingTooSoon,
        Plant::RefusalAckedTooSoon,
        Plant::ByeAnsweredTooSoon,
        Plant::ActsBeforeExchange,
        Plant::SilenceIsAnAnswer,
        Plant::NodeInBranch,
        Plant::ProbeWithNewBranch,
        Plant::NoProbe,
        Plant::TargetsNotShadowed,
        Plant::AnswerNotShadowed,
        Plant::HeirKeepsToItself,
        Plant::NeverReleases,
        Plant::TwoGoOn,
        Plant::GapApplied,
        Plant::AckedUnread,
        Plant::StartNotRepeated,
        Plant::PoisonKept,
    ];
}
