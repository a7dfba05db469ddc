//! A day, and what becomes of its calls.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use trunkline_domain::routing::ExpectedWait;
use trunkline_domain::vocabulary::{Millis, QueuePlan, Timestamp};

use crate::cell::{Cell, Heard};

/// A queue and the skills that serve it, by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Queue {
    /// Whatever the log calls it.
    pub name: String,
    /// All of them are needed.
    pub skills: Vec<String>,
}

/// A time an agent is there, from its beginning to its end without it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shift {
    /// When it becomes ready.
    pub from: Timestamp,
    /// When it takes no more contacts; what it has it finishes.
    pub until: Timestamp,
}

/// Somebody who serves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agent {
    /// Whatever the log calls it.
    pub name: String,
    /// What it can do, by name.
    pub skills: Vec<String>,
    /// When it is there, in order.
    pub shifts: Vec<Shift>,
}

/// A call that is offered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// When it comes to its queue.
    pub at: Timestamp,
    /// Which, by its place in the day.
    pub queue: usize,
    /// Smaller is served first.
    pub priority: i32,
    /// It is queued as if it had come so much earlier.
    pub head_start: Millis,
    /// How long it talks, once it is answered.
    pub talk: Millis,
    /// How long it waits at most; `None` for as long as it takes.
    pub patience: Option<Millis>,
}

/// Everything there is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Day {
    /// The queues.
    pub queues: Vec<Queue>,
    /// The agents.
    pub agents: Vec<Agent>,
    /// The calls, in the order in which they come.
    pub calls: Vec<Call>,
    /// How long an agent takes from the end of one conversation until it could take the next.
    pub turnaround: Millis,
    /// How every queue serves who waits.
    pub plan: QueuePlan,
}

/// What became of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// It was answered.
    Answered {
        /// By whom, by its place in the day.
        agent: usize,
        /// How long it had waited.
        waited: Millis,
    },
    /// It gave up.
    Abandoned {
        /// How long it had waited.
        waited: Millis,
    },
    /// It waits when nothing happens any more: nobody who could serve it is there.
    Left,
}

/// What happens, and in which order at one instant: who is free before who comes, who comes before who gives up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Begins { agent: usize },
    Free { agent: usize, call: usize },
    Hangs { call: usize },
    Comes { call: usize },
    GivesUp { call: usize },
    Leaves { agent: usize },
}

/// Plays a day. The outcome of each call is in its place.
pub fn play(day: &Day) -> Vec<End> {
    play_and_tell(day, |_, _| {})
}

/// The same; each call that has to wait is told how long, as it comes.
pub fn play_and_tell(day: &Day, mut tell: impl FnMut(usize, ExpectedWait)) -> Vec<End> {
    let mut ends = vec![End::Left; day.calls.len()];
    let mut events: BinaryHeap<Reverse<(Timestamp, Event)>> = BinaryHeap::new();
    for (agent, it) in day.agents.iter().enumerate() {
        for shift in &it.shifts {
            events.push(Reverse((shift.from, Event::Begins { agent })));
            events.push(Reverse((shift.until, Event::Leaves { agent })));
        }
    }
    events.extend(day.calls.iter().enumerate().map(|(call, it)| Reverse((it.at, Event::Comes { call }))));
    let Some(first) = events.peek().map(|Reverse((at, _))| *at) else { return ends };
    let mut cell = Cell::new(day, first);
    let mut heard = Vec::new();
    while let Some(next) = events.peek().map(|Reverse((at, _))| *at) {
        // What routing waits for itself comes first.
        if let Some(due) = cell.next_timeout().filter(|due| *due < next) {
            cell.passes(due, &mut heard);
        } else if let Some(Reverse((at, event))) = events.pop() {
            match event {
                Event::Begins { agent } => cell.begins(at, agent, &mut heard),
                Event::Leaves { agent } => cell.leaves(at, agent, &mut heard),
                Event::Hangs { call } => {
                    if let Some(agent) = cell.hangs(at, call, day.turnaround, &mut heard) {
                        events.push(Reverse((at + day.turnaround, Event::Free { agent, call })));
                    }
                }
                Event::Free { agent, call } => cell.free(at, agent, call, &mut heard),
                Event::GivesUp { call } => {
                    if ends[call] == End::Left {
                        ends[call] = End::Abandoned { waited: at.since(day.calls[call].at) };
                        cell.gives_up(at, call, &mut heard);
                    }
                }
                Event::Comes { call } => {
                    let it = &day.calls[call];
                    let until = it.patience.map(|patience| at + patience);
                    events.extend(until.map(|until| Reverse((until, Event::GivesUp { call }))));
                    cell.comes(at, call, it, &mut heard);
                    if let Some(expected) = cell.expected(call) {
                        tell(call, expected);
                    }
                }
            }
        }
        for Heard { at, call, agent } in heard.drain(..) {
            ends[call] = End::Answered { agent, waited: at.since(day.calls[call].at) };
            events.push(Reverse((at + day.calls[call].talk, Event::Hangs { call })));
        }
    }
    ends
}
