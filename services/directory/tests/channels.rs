//! What a document says of the channels an agent serves.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::{GOOD, told};
use trunkline_directory::document::Document;
use trunkline_domain::vocabulary::Channel;

/// The good document with what Anna serves.
fn serving(rules: &str) -> String {
    GOOD.replacen("    name: Anna\n", &format!("    name: Anna\n    channels:\n{rules}"), 1)
}

#[test]
fn what_an_agent_serves_at_once_is_kept() {
    let rules = "      - channel: voice\n      - {channel: chat, capacity: 3, interrupted_by: [voice]}\n";
    let wanted = Document::read(&serving(rules)).unwrap().wanted;
    let served: Vec<_> =
        wanted.agents[0].wanted.channels.iter().map(|it| (it.channel, it.capacity)).collect();
    assert_eq!(served, [(Channel::Voice, 1), (Channel::Chat, 3)]);
    assert!(wanted.agents[0].wanted.channels[1].interrupted_by.contains(&Channel::Voice));
    assert!(wanted.agents[1].wanted.channels.is_empty(), "one call at a time");
    assert_eq!(told(&serving(rules)), "");
}

#[test]
fn what_an_agent_cannot_serve_is_told_with_its_place() {
    for (rules, why) in [
        ("      - channel: chat\n        capacity: 0\n", "capacity 0"),
        ("      - channel: voice\n        capacity: 2\n", "the most is 1"),
        ("      - channel: fax\n", "`fax` is not a channel: expected one of voice, chat, email, task"),
        ("      - channel: chat\n        interrupted_by: [voice]\n", "voice, which the agent does not serve"),
        ("      - channel: chat\n        capacity: -1\n", "-1 is not how many at once"),
    ] {
        let told = told(&serving(rules));
        assert!(told.contains(why) && told.starts_with(|it: char| it.is_ascii_digit()), "{rules}: {told}");
    }
}
