//! Why a contact ended, and who ended it, with the codes the wire uses.

/// A side of a contact.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Party {
    /// Who called.
    Caller,
    /// Who serves.
    Agent,
    /// Trunkline itself: a flow's end, a refusal, a shutdown.
    System,
}

/// Why a contact ended. Each contact ends exactly once, with one of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ContactEndCause {
    /// The conversation was finished by one of the parties.
    Completed,
    /// The caller left while waiting in a queue.
    Abandoned,
    /// The caller left before any queue.
    LeftInFlow,
    /// The number was outside its business hours; the caller heard so.
    Closed,
    /// The caller is on the blocklist.
    Blocked,
    /// Nobody owns the dialled number.
    UnknownNumber,
    /// The cluster could not take the contact now.
    Overloaded,
    /// The flow sent the contact away: queue full, nobody signed in, waited too long.
    FlowedOut,
    /// The media node that held the contact was lost.
    MediaLost,
    /// The cluster was told to stop and its grace period ran out.
    Drained,
    /// The caller's side broke the protocol or its transport failed.
    SignallingFailed,
}

impl ContactEndCause {
    /// Every cause, in declaration order.
    pub const ALL: [ContactEndCause; 11] = [
        Self::Completed,
        Self::Abandoned,
        Self::LeftInFlow,
        Self::Closed,
        Self::Blocked,
        Self::UnknownNumber,
        Self::Overloaded,
        Self::FlowedOut,
        Self::MediaLost,
        Self::Drained,
        Self::SignallingFailed,
    ];

    /// The word used in reports and on the command line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Abandoned => "abandoned",
            Self::LeftInFlow => "left_in_flow",
            Self::Closed => "closed",
            Self::Blocked => "blocked",
            Self::UnknownNumber => "unknown_number",
            Self::Overloaded => "overloaded",
            Self::FlowedOut => "flowed_out",
            Self::MediaLost => "media_lost",
            Self::Drained => "drained",
            Self::SignallingFailed => "signalling_failed",
        }
    }

    /// The final SIP response when the INVITE was not yet answered (RFC 3261 §21).
    pub const fn sip_status(self) -> u16 {
        match self {
            Self::Completed | Self::Closed | Self::FlowedOut => 480,
            Self::Abandoned | Self::LeftInFlow => 487,
            Self::Blocked => 486,
            Self::UnknownNumber => 404,
            Self::Overloaded | Self::Drained | Self::MediaLost => 503,
            Self::SignallingFailed => 500,
        }
    }

    /// The cause value of ITU-T Q.850 for the Reason header (RFC 3326).
    pub const fn q850(self) -> u8 {
        match self {
            Self::Completed | Self::Abandoned | Self::LeftInFlow | Self::Closed | Self::FlowedOut => 16,
            Self::Blocked => 17,
            Self::UnknownNumber => 1,
            Self::Overloaded => 42,
            Self::MediaLost | Self::Drained => 41,
            Self::SignallingFailed => 111,
        }
    }
}
