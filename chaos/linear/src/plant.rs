//! What a broken group would have answered, put into a history of a sound one. Each plant is a contradiction however the other
//! operations are ordered, so a checker that passes it is broken itself.

use std::fmt;
use std::str::FromStr;

use crate::history::Fate;
use crate::model::{AgentCall, Call, Key, LeaseCall, Op, Reply};

/// What is put in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plant {
    /// A read shows a session whose end had been acknowledged before.
    StaleRead,
    /// A lease that was granted, and that its holder never gave back, is not there.
    LostWrite,
    /// A lease is granted while somebody else has it.
    DoubleGrant,
}

impl Plant {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::StaleRead, Self::LostWrite, Self::DoubleGrant];

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::StaleRead => "stale-read",
            Self::LostWrite => "lost-write",
            Self::DoubleGrant => "double-grant",
        }
    }

    /// Puts it in; gives the place of the operation whose answer is wrong now, or `None` when the history has no room for it.
    pub fn put(self, history: &mut [Op]) -> Option<usize> {
        let (place, wrong) = match self {
            Self::StaleRead => stale_read(history),
            Self::LostWrite => lost_write(history),
            Self::DoubleGrant => double_grant(history),
        }?;
        if let Fate::Ok { reply, .. } = &mut history[place].fate {
            *reply = wrong;
        }
        history[place].index = None;
        Some(place)
    }
}

impl fmt::Display for Plant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Plant {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let names = Self::ALL.map(Self::name).join(", ");
        let found = Self::ALL.into_iter().find(|plant| plant.name() == text);
        found.ok_or_else(|| format!("there is no plant {text}; there are {names}"))
    }
}

/// A session is begun by one operation alone, so it does not come back.
fn stale_read(history: &[Op]) -> Option<(usize, Reply)> {
    let reads = || history.iter().enumerate().filter(|(_, it)| it.call == Call::Agent(AgentCall::Read));
    for ended in history.iter().filter(|it| it.call == Call::Agent(AgentCall::SignOut)) {
        let (Some(Reply::Session(session)), Some(at)) = (ended.reply(), ended.returned_at()) else {
            continue;
        };
        let old = reads().find_map(|(_, read)| match read.reply() {
            Some(Reply::Seen(seen)) if read.key == ended.key && seen.session == Some(*session) => Some(seen),
            _ => None,
        });
        let late = reads()
            .find(|(_, read)| read.key == ended.key && read.called_at > at && read.reply().is_some())
            .map(|(place, _)| place);
        if let (Some(old), Some(late)) = (old, late) {
            return Some((late, Reply::Seen(old.clone())));
        }
    }
    None
}

/// Only its holder moves a lease that does not lapse, and the holder asks one thing at a time; what it asked and was not
/// answered might still move it.
fn lost_write(history: &[Op]) -> Option<(usize, Reply)> {
    let kept =
        |it: &Op| matches!(it.call, Call::Lease(LeaseCall::Renew { .. })) && it.reply() == Some(&Reply::Done);
    let open = |at: &Op| {
        history.iter().any(|it| {
            it.key == at.key
                && it.client == at.client
                && it.called_at < at.called_at
                && matches!(it.fate, Fate::Unknown)
        })
    };
    let place = history.iter().position(|it| kept(it) && !open(it))?;
    Some((place, Reply::Refused("STALE_EPOCH".to_owned())))
}

/// Somebody kept it afterwards under the epoch it had before.
fn double_grant(history: &[Op]) -> Option<(usize, Reply)> {
    let on = |key: Key| history.iter().filter(move |it| it.key == key);
    for (place, denied) in history.iter().enumerate() {
        let (Some(Reply::HeldBy(holder)), Some(at)) = (denied.reply(), denied.returned_at()) else {
            continue;
        };
        let kept = on(denied.key).filter(|it| it.client == *holder && it.reply() == Some(&Reply::Done));
        let held_through = kept.filter(|it| it.called_at > at).find_map(|it| match it.call {
            Call::Lease(LeaseCall::Renew { epoch } | LeaseCall::Release { epoch }) => Some(epoch),
            _ => None,
        });
        let granted_before = on(denied.key).any(|it| {
            it.reply().is_some_and(|reply| held_through.map(Reply::Epoch).as_ref() == Some(reply))
                && it.returned_at() < Some(denied.called_at)
        });
        let highest = on(denied.key).filter_map(|it| match it.reply() {
            Some(Reply::Epoch(epoch)) if it.called_at < at => Some(*epoch),
            _ => None,
        });
        if granted_before {
            return Some((place, Reply::Epoch(highest.max().unwrap_or_default() + 1)));
        }
    }
    None
}
