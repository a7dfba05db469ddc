//! Slots: what an agent does at once, and what may be put on top of it.
//!
//! A slot is taken from the reservation to the end of the wrap-up. How many of a channel there are, and which channels may
//! interrupt which, is the directory's word for the agent ([`Channels`]); whether one is free is derived.

use super::{Activity, Agent, Presence, Reservation, Stage, WrapUp};
use crate::agent_state::reply::Rejection;
use crate::vocabulary::{Channel, Channels, ContactId, OfferId, Timestamp};

/// One thing an agent is held for, talks in, or wraps up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Slot {
    /// An offer, answered or not.
    Held(Reservation),
    /// After-contact work.
    WrapUp(WrapUp),
}

impl Slot {
    /// The reservation, while there is one.
    pub fn held(&self) -> Option<&Reservation> {
        match self {
            Self::Held(held) => Some(held),
            Self::WrapUp(_) => None,
        }
    }

    /// The after-contact work, if that is what it is.
    pub fn wrap_up(&self) -> Option<&WrapUp> {
        match self {
            Self::WrapUp(wrap_up) => Some(wrap_up),
            Self::Held(_) => None,
        }
    }

    /// Of which channel.
    pub fn channel(&self) -> Channel {
        match self {
            Self::Held(held) => held.wish.channel,
            Self::WrapUp(wrap_up) => wrap_up.channel,
        }
    }

    /// Under which offer.
    pub fn offer_id(&self) -> &OfferId {
        match self {
            Self::Held(held) => &held.wish.offer_id,
            Self::WrapUp(wrap_up) => &wrap_up.offer_id,
        }
    }

    /// Which contact.
    pub fn contact_id(&self) -> &ContactId {
        match self {
            Self::Held(held) => &held.wish.contact_id,
            Self::WrapUp(wrap_up) => &wrap_up.contact_id,
        }
    }

    /// Reserved, talking or wrap-up.
    pub fn activity(&self) -> Activity {
        match self {
            Self::Held(Reservation { stage: Stage::Offered, .. }) => Activity::Reserved,
            Self::Held(Reservation { stage: Stage::Accepted, .. }) => Activity::Talking,
            Self::WrapUp(_) => Activity::WrapUp,
        }
    }

    /// When something becomes of it by itself.
    pub fn deadline(&self) -> Option<Timestamp> {
        match self {
            Self::Held(held) => held.deadline(),
            Self::WrapUp(wrap_up) => wrap_up.ends_at,
        }
    }

    /// Why nothing else can be in it.
    pub(in crate::agent_state) fn taken(&self) -> Rejection {
        match self {
            Self::WrapUp(_) => Rejection::InWrapUp,
            Self::Held(held) => Rejection::AlreadyReserved { offer_id: held.wish.offer_id.clone() },
        }
    }

    pub(super) fn traceparent(&self) -> &str {
        match self {
            Self::Held(held) => &held.traceparent,
            Self::WrapUp(wrap_up) => &wrap_up.traceparent,
        }
    }
}

impl Agent {
    /// What it is held for, in the order of the reservations.
    pub fn held(&self) -> impl Iterator<Item = &Reservation> {
        self.slots.iter().filter_map(Slot::held)
    }

    /// What it wraps up, in the order of the reservations.
    pub fn wrap_ups(&self) -> impl Iterator<Item = &WrapUp> {
        self.slots.iter().filter_map(Slot::wrap_up)
    }

    /// The reservation under an offer.
    pub fn held_under(&self, offer_id: &OfferId) -> Option<&Reservation> {
        self.held().find(|it| it.wish.offer_id == *offer_id)
    }

    /// Whether it talks to anybody.
    pub fn talking(&self) -> bool {
        self.held().any(|it| it.stage == Stage::Accepted)
    }

    /// Whether it does anything for a contact.
    pub fn busy(&self) -> bool {
        !self.slots.is_empty()
    }

    pub(in crate::agent_state) fn held_under_mut(&mut self, offer_id: &OfferId) -> Option<&mut Reservation> {
        self.slots.iter_mut().find_map(|slot| match slot {
            Slot::Held(held) if held.wish.offer_id == *offer_id => Some(held),
            _ => None,
        })
    }

    /// Why the agent cannot be held for one more contact of a channel now, if it cannot.
    pub(in crate::agent_state) fn unavailable(
        &self,
        channel: Channel,
        channels: &Channels,
    ) -> Option<Rejection> {
        if self.session.is_none() {
            return Some(Rejection::NotSignedIn);
        }
        let capacity = channels.capacity(channel);
        let same = || self.slots.iter().filter(|it| it.channel() == channel);
        // Who is busy in its only slot is told with what, whatever else stands against it.
        if let Some(last) = same().next_back().filter(|_| same().count() as u32 >= capacity.max(1)) {
            return Some(match last {
                _ if capacity > 1 => Rejection::ChannelFull { channel, capacity },
                last => last.taken(),
            });
        }
        // What it asked for meanwhile takes effect once it is done: until then it takes nothing more.
        if self.presence != Presence::Ready || self.next.is_some() {
            return Some(Rejection::NotReady);
        }
        if capacity == 0 {
            return Some(Rejection::ChannelNotServed { channel });
        }
        let mut others = self.slots.iter().map(Slot::channel).filter(|it| *it != channel);
        others
            .find(|it| !channels.interrupted(*it, channel))
            .map(|by| Rejection::BusyElsewhere { channel: by })
    }

    /// Which slot a command is about: the one under the offer it names, else the only one it can mean.
    ///
    /// A desktop that speaks of another conversation than those that are live has not seen what came since.
    pub(super) fn meant(
        &self,
        said: Option<OfferId>,
        may: impl Fn(&Slot) -> bool,
        none: Rejection,
    ) -> Result<OfferId, Rejection> {
        let mut able = self.slots.iter().filter(|it| may(it)).map(Slot::offer_id);
        let first = able.next().ok_or(none)?.clone();
        match said {
            Some(said) if said == first || able.any(|it| *it == said) => Ok(said),
            Some(_) => Err(Rejection::WrongOffer { offer_id: first }),
            None if able.next().is_some() => Err(Rejection::WhichOffer),
            None => Ok(first),
        }
    }
}
