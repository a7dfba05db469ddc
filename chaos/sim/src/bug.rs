//! Bugs planted on purpose, each to show that an invariant finds what it is for.

/// A way in which a host, or a wrapper round the machine, is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Bug {
    /// The leader answers when it has appended, before a majority has.
    AckBeforeMajority,
    /// A voter answers before its write is on the disk.
    AckBeforeSync,
    /// A voter that lost its disk comes back under its old number.
    LostDiskKeepsNumber,
    /// A replica stamps its own clock into a command while applying it.
    StampAtApply,
    /// The answers kept for retries are not in the snapshot.
    ForgetAnswersOnRestart,
    /// The leader gives each request a command id of its own: a retry is a new command.
    MintAtTheDoor,
    /// A reservation is now and then dropped from the state, without a fact.
    ForgetReservation,
    /// A media node connects caller and agent without asking agent-state.
    BridgeUnasked,
    /// The leader does not keep time.
    NeverExpire,
    /// A lease is granted though somebody holds it.
    GrantHeldLease,
    /// The leader writes the current epoch into a command, whatever the owner's was.
    FillInEpoch,
    /// A new leader publishes without having read what is published.
    PublishUnread,
    /// The leader records a fact as published before it is.
    AdvanceBeforePublish,
    /// A fact is said to have happened when it was published.
    StampAtPublishing,
    /// A lease never lapses.
    LeaseNeverLapses,
    /// What is published is never recorded, so the outbox only grows.
    NeverAdvance,
    /// A new routing owner decides without having read its own log.
    TakeOverUnread,
    /// A media node that comes back does not end what it had lost.
    NeverRecover,
    /// A media node that comes back ends what other nodes have.
    RecoverOthers,
    /// A contact that rings at many goes on ringing when somebody has answered.
    RingOn,
    /// An agent's rules of what it serves at once are not looked at.
    ServeAnything,
}

impl Bug {
    /// Every bug, in declaration order.
    pub const ALL: [Bug; 21] = [
        Self::AckBeforeMajority,
        Self::AckBeforeSync,
        Self::LostDiskKeepsNumber,
        Self::StampAtApply,
        Self::ForgetAnswersOnRestart,
        Self::MintAtTheDoor,
        Self::ForgetReservation,
        Self::BridgeUnasked,
        Self::NeverExpire,
        Self::GrantHeldLease,
        Self::FillInEpoch,
        Self::PublishUnread,
        Self::AdvanceBeforePublish,
        Self::StampAtPublishing,
        Self::LeaseNeverLapses,
        Self::NeverAdvance,
        Self::TakeOverUnread,
        Self::NeverRecover,
        Self::RecoverOthers,
        Self::RingOn,
        Self::ServeAnything,
    ];

    /// The word for it in `TRUNKLINE_SIM_BUG`.
    pub fn name(self) -> String {
        format!("{self:?}")
    }

    /// The bug of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|bug| bug.name() == name)
    }
}
