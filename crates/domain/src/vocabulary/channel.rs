//! Channels: how a contact reaches an agent, and how many contacts an agent serves at once.

use std::collections::{BTreeMap, BTreeSet};

/// The most contacts of one channel an agent serves at once.
pub const CAPACITY_MAX: u32 = 25;

/// How a contact reaches an agent. The order is that of precedence: a person who does two things at once mainly does the
/// first of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Channel {
    /// A call. An agent has one at a time.
    #[default]
    Voice,
    /// A conversation in writing that waits for each answer.
    Chat,
    /// A letter that is answered once.
    Email,
    /// Work without anybody at the other end.
    Task,
}

impl Channel {
    /// Every channel, in order of precedence.
    pub const ALL: [Channel; 4] = [Self::Voice, Self::Chat, Self::Email, Self::Task];

    /// The word used in documents and reports.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Voice => "voice",
            Self::Chat => "chat",
            Self::Email => "email",
            Self::Task => "task",
        }
    }
}

impl std::fmt::Display for Channel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How many contacts of one channel an agent serves at once, and what may be put on top of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChannelRule {
    /// The channel.
    pub channel: Channel,
    /// How many at once: 1 to [`CAPACITY_MAX`], of voice 1.
    pub capacity: u32,
    /// Contacts of these channels are offered while one of this channel is under way; of all others, none is.
    pub interrupted_by: BTreeSet<Channel>,
}

/// Why rules are none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ChannelsError {
    /// Who serves nothing of a channel does not name it.
    #[error("{0} has capacity 0; leave the channel out instead")]
    NoCapacity(Channel),
    /// More than a person can do.
    #[error("{channel} has capacity {capacity}; the most is {max}")]
    TooMuch {
        /// Of which channel.
        channel: Channel,
        /// What was said.
        capacity: u32,
        /// What may be said.
        max: u32,
    },
    /// Two rules for one channel.
    #[error("{0} is there twice")]
    Twice(Channel),
    /// More of the same is a matter of the capacity.
    #[error("{0} is interrupted by itself; that is what its capacity is for")]
    ByItself(Channel),
    /// It would be offered to nobody.
    #[error("{channel} is interrupted by {by}, which the agent does not serve")]
    NotServed {
        /// The channel.
        channel: Channel,
        /// The one that is missing.
        by: Channel,
    },
}

/// What an agent serves. By default one call at a time and nothing else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Channels(BTreeMap<Channel, ChannelRule>);

impl Default for Channels {
    fn default() -> Self {
        let voice = ChannelRule { channel: Channel::Voice, capacity: 1, interrupted_by: BTreeSet::new() };
        Self(BTreeMap::from([(Channel::Voice, voice)]))
    }
}

impl Channels {
    /// What an agent serves by these rules; no rule at all is the default.
    ///
    /// # Errors
    /// When a rule cannot be, with the first that cannot.
    pub fn new(rules: impl IntoIterator<Item = ChannelRule>) -> Result<Self, ChannelsError> {
        let mut by_channel = BTreeMap::new();
        for rule in rules {
            let (channel, capacity) = (rule.channel, rule.capacity);
            let max = if channel == Channel::Voice { 1 } else { CAPACITY_MAX };
            match capacity {
                0 => return Err(ChannelsError::NoCapacity(channel)),
                _ if capacity > max => return Err(ChannelsError::TooMuch { channel, capacity, max }),
                _ if rule.interrupted_by.contains(&channel) => return Err(ChannelsError::ByItself(channel)),
                _ => {}
            }
            if by_channel.insert(channel, rule).is_some() {
                return Err(ChannelsError::Twice(channel));
            }
        }
        for rule in by_channel.values() {
            if let Some(by) = rule.interrupted_by.iter().find(|by| !by_channel.contains_key(by)) {
                return Err(ChannelsError::NotServed { channel: rule.channel, by: *by });
            }
        }
        Ok(if by_channel.is_empty() { Self::default() } else { Self(by_channel) })
    }

    /// The rules, in order of precedence.
    pub fn rules(&self) -> impl Iterator<Item = &ChannelRule> {
        self.0.values()
    }

    /// How many contacts of a channel it serves at once; zero when it does not serve it.
    pub fn capacity(&self, channel: Channel) -> u32 {
        self.0.get(&channel).map_or(0, |rule| rule.capacity)
    }

    /// Whether a contact of the channel `by` may be offered while one of another channel is under way. One of a channel that
    /// is no longer served is interrupted by nothing.
    pub fn interrupted(&self, channel: Channel, by: Channel) -> bool {
        self.0.get(&channel).is_some_and(|rule| rule.interrupted_by.contains(&by))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(channel: Channel, capacity: u32, interrupted_by: &[Channel]) -> ChannelRule {
        ChannelRule { channel, capacity, interrupted_by: interrupted_by.iter().copied().collect() }
    }

    #[test]
    fn rules_that_cannot_be_say_why() {
        use Channel::{Chat, Email, Task, Voice};
        let cases: [(&[ChannelRule], &str); 7] = [
            (&[rule(Chat, 0, &[])], "chat has capacity 0; leave the channel out instead"),
            (&[rule(Voice, 2, &[])], "voice has capacity 2; the most is 1"),
            (&[rule(Email, 26, &[])], "email has capacity 26; the most is 25"),
            (&[rule(Task, 1, &[]), rule(Task, 2, &[])], "task is there twice"),
            (&[rule(Chat, 2, &[Chat])], "chat is interrupted by itself; that is what its capacity is for"),
            (&[rule(Chat, 2, &[Voice])], "chat is interrupted by voice, which the agent does not serve"),
            (&[rule(Voice, u32::MAX, &[])], "voice has capacity 4294967295; the most is 1"),
        ];
        for (rules, why) in cases {
            assert_eq!(Channels::new(rules.to_vec()).unwrap_err().to_string(), why);
        }
    }

    #[test]
    fn without_rules_an_agent_serves_one_call_and_nothing_else() {
        let channels = Channels::new([]).unwrap();
        assert_eq!(channels, Channels::default());
        assert_eq!(Channel::ALL.map(|it| channels.capacity(it)), [1, 0, 0, 0]);
        assert!(Channel::ALL.iter().all(|it| Channel::ALL.iter().all(|by| !channels.interrupted(*it, *by))));
    }

    #[test]
    fn one_channel_interrupts_another_and_not_the_other_way_round() {
        use Channel::{Email, Voice};
        let channels = Channels::new([rule(Voice, 1, &[]), rule(Email, 4, &[Voice])]).unwrap();
        assert!(channels.interrupted(Email, Voice) && !channels.interrupted(Voice, Email));
    }
}
