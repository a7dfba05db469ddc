//! The tables of `LIFECYCLE.md` are what the machine does: each command is given in each state.

use std::collections::BTreeSet;
use std::fmt::Write;

use super::*;

const PAGE: &str = include_str!("../LIFECYCLE.md");

/// When the commands are given: after everything that made the state, before any of its deadlines.
const THEN: i64 = 11_500;

/// The states an agent can be in, and how one gets there.
fn states() -> Vec<(&'static str, Vec<Step>)> {
    vec![
        ("signed out", vec![]),
        ("not ready", vec![(100, sign_in("anna"))]),
        ("ready", ready()),
        ("reserved", offered()),
        ("talking", talking()),
        ("wrap-up", wrapping_up()),
    ]
}

fn commands() -> Vec<(&'static str, Action)> {
    let other = SessionId::from_name("other").unwrap();
    vec![
        ("SignIn", sign_in("anna")),
        (
            "SignIn, another session",
            Action::SignIn { agent_id: agent("anna"), session_id: other, site_id: None, lease: Millis::ZERO },
        ),
        ("KeepSession", keep_session("anna")),
        ("GoReady", go_ready("anna")),
        ("GoNotReady", go_not_ready("anna", 60_000)),
        ("Force: ready", force("anna", Force::Ready)),
        ("Force: not ready", force("anna", away(60_000))),
        ("Force: signed out", force("anna", Force::SignedOut)),
        ("RequestWrapUp", request_wrap_up("anna")),
        ("ExtendWrapUp", extend_wrap_up("anna", 1_000)),
        ("FinishWrapUp", finish_wrap_up("anna")),
        ("SignOut", sign_out("anna")),
        ("ReserveAgents, the same wish", reserve(&[wish("anna", "c", "main", 20_000)])),
        ("ReserveAgents, another wish", reserve(&[wish("anna", "d", "main", 40_000)])),
        ("AcceptReservation", accept("anna", "c", 6144)),
        ("Release: completed", release("anna", "c", 6144, ReleaseOutcome::Completed)),
        ("Release: declined", release("anna", "c", 6144, ReleaseOutcome::Declined)),
        ("Release: rescinded", release("anna", "c", 6144, ReleaseOutcome::Rescinded)),
        ("Release: caller_gone", release("anna", "c", 6144, ReleaseOutcome::CallerGone)),
        ("Release: media_lost", release("anna", "c", 6144, ReleaseOutcome::MediaLost)),
        ("UnregisterDevice, the last", unregister("anna", "phone")),
    ]
}

fn word(activity: Activity) -> &'static str {
    match activity {
        Activity::SignedOut => "signed out",
        Activity::NotReady => "not ready",
        Activity::Ready => "ready",
        Activity::Reserved => "reserved",
        Activity::Talking => "talking",
        Activity::WrapUp => "wrap-up",
    }
}

/// What a command comes to in a state, or the code it is rejected with.
fn outcome(state: &str, given: Vec<Step>, when: Action) -> Result<String, &'static str> {
    let mut world = World::new();
    for (now, action) in given {
        world.now = now;
        world.apply(action).unwrap();
    }
    let before = world.machine.state().agents[&agent("anna")].clone();
    assert_eq!(word(before.activity()), state);
    world.now = THEN;
    match world.apply(when) {
        Err(rejection) => return Err(rejection.code()),
        Ok(Done::Reserved { answers }) => drop(answers[0].granted.as_ref().map_err(Rejection::code)?),
        Ok(_) => {}
    }
    let after = &world.machine.state().agents[&agent("anna")];
    let mut cell =
        if after.activity() == before.activity() { "=" } else { word(after.activity()) }.to_owned();
    if after.next.is_some() {
        cell += ", `next`";
    }
    let made = world.machine.state().outbox.iter().filter(|(key, _)| key.index == world.index);
    let facts: Vec<&str> = made
        .map(|(_, posted)| posted.fact.name())
        .map(|name| name.strip_prefix("Agent").or(name.strip_prefix("Reservation")).unwrap_or(name))
        .collect();
    if !facts.is_empty() {
        write!(cell, " [{}]", facts.join(", ")).unwrap();
    }
    Ok(cell)
}

/// A table of one cell a state and command.
fn table(cell: impl Fn(Result<String, &'static str>) -> String) -> String {
    let mut table = "| command |".to_owned();
    for (state, _) in states() {
        write!(table, " {state} |").unwrap();
    }
    table += "\n|---|---|---|---|---|---|---|\n";
    for (name, action) in commands() {
        write!(table, "| {name} |").unwrap();
        for (state, given) in states() {
            let text = cell(outcome(state, given, action.clone()));
            write!(table, "{}|", if text.is_empty() { " ".to_owned() } else { format!(" {text} ") }).unwrap();
        }
        table.push('\n');
    }
    table
}

/// The table behind a heading of the page.
fn page(heading: &str) -> &'static str {
    let section = PAGE.split_once(&format!("## {heading}\n")).expect("the page has the heading").1;
    let from = section.find("| command |").expect("the section has the table");
    let table = &section[from..];
    &table[..table.find("\n\n").map_or(table.len(), |end| end + 1)]
}

#[track_caller]
fn same(heading: &str, expected: &str) {
    assert!(page(heading) == expected, "the table of LIFECYCLE.md, {heading}, must be:\n\n{expected}");
}

#[test]
fn the_table_of_states_and_commands_is_what_the_machine_does() {
    same("Agent: state × command", &table(Result::unwrap_or_default));
}

#[test]
fn the_table_of_rejections_is_what_the_machine_says() {
    let code = |code: &'static str| format!("`{code}`");
    same("Agent: why not", &table(|outcome| outcome.map_or_else(code, |_| String::new())));
}

#[test]
fn the_page_names_every_code_and_none_that_is_not() {
    let source = include_str!("../reply.rs");
    let codes: BTreeSet<&str> = source.split('"').filter(|it| shouts(it)).collect();
    for quoted in PAGE.split('`').skip(1).step_by(2).filter(|it| shouts(it)) {
        assert!(codes.contains(quoted), "{quoted} is no code of a rejection");
    }
    for code in codes {
        assert!(PAGE.contains(&format!("`{code}`")), "the page does not name {code}");
    }
}

fn shouts(text: &str) -> bool {
    text.len() > 3 && text.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_')
}
