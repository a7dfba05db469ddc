//! Whoever watches: a machine that never fails applies the committed log once, and every invariant is told of it.

use std::collections::{BTreeMap, BTreeSet};

use trunkline_chaos::History;
use trunkline_domain::agent_state::{Action, Command, Done, Machine, OutboxKey, Reply, State};
use trunkline_domain::facts::{AgentFact, ContactFact, DirectoryFact, LogFact, Outcome, RoutingFact};
use trunkline_domain::kernel::StateHash;
use trunkline_domain::routing::Router;
use trunkline_domain::vocabulary::{
    AgentId, Cell, CommandId, ContactEndCause, ContactId, Millis, Position, Timestamp,
};
use trunkline_runtime::event_log::Verdict as Fence;

use crate::bug::Bug;
use crate::event_log::EventLog;
use crate::invariants::acknowledged_is_kept::{self, AcknowledgedIsKept};
use crate::invariants::deadlines_are_kept::{self, DeadlinesAreKept};
use crate::invariants::epochs_rise::{self, EpochsRise};
use crate::invariants::facts_are_there_once::{self, FactsAreThereOnce};
use crate::invariants::one_effect::{self, OneEffect};
use crate::invariants::one_reservation::{self, OneReservation};
use crate::invariants::replicas_agree::{self, ReplicasAgree};
use crate::invariants::routing_goes_on::{self, RoutingGoesOn};
use crate::invariants::seconds_add_up::{self, SecondsAddUp};
use crate::invariants::{Committed, becomes_usable, stale_epochs_are_void};
use crate::message::Kept;
use crate::tally::Tally;
use crate::trace::Trace;
use crate::turn::{Applied, Phase};
use crate::voter::SAMPLE_EVERY;
use crate::voter::disk::Payload;
use crate::voter::replica::Replica;

/// A broken promise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The name of the invariant's file.
    pub invariant: &'static str,
    /// What is wrong.
    pub message: String,
}

/// Says which invariant a verdict is of.
fn of(invariant: &'static str) -> impl Fn(String) -> Violation {
    move |message| Violation { invariant, message }
}

type Checked = Result<(), Violation>;

/// The machine that never fails, and the invariants.
#[derive(Debug)]
pub(crate) struct Checker {
    bug: Option<Bug>,
    reference: Replica,
    watch: Watch,
    kept: AcknowledgedIsKept,
    agree: ReplicasAgree,
}

/// What is told of every committed command.
#[derive(Debug, Default)]
struct Watch {
    issued: BTreeMap<CommandId, Action>,
    applied: BTreeSet<CommandId>,
    /// The place of the next fact.
    next_fact: Option<OutboxKey>,
    one_effect: OneEffect,
    one_reservation: OneReservation,
    deadlines: DeadlinesAreKept,
    epochs: EpochsRise,
    facts: FactsAreThereOnce,
    seconds: SecondsAddUp,
    routing: RoutingGoesOn,
}

impl Checker {
    pub(crate) fn new(members: BTreeSet<u32>, bug: Option<Bug>) -> Self {
        Self {
            bug,
            reference: Replica { members, ..Replica::new() },
            watch: Watch::default(),
            kept: AcknowledgedIsKept::default(),
            agree: ReplicasAgree::default(),
        }
    }

    /// The state behind the last committed entry.
    pub(crate) fn state(&self) -> &State {
        self.reference.machine.state()
    }

    /// Who votes, as of the last committed entry.
    pub(crate) fn members(&self) -> &BTreeSet<u32> {
        &self.reference.members
    }

    /// The index of the last committed entry.
    pub(crate) fn last_index(&self) -> u64 {
        self.reference.applied.0
    }

    /// Index and state hash of the last committed entry.
    pub(crate) fn reference(&self) -> (u64, StateHash) {
        (self.reference.applied.0, self.reference.machine.state_hash())
    }

    pub(crate) fn issued(&mut self, now: Timestamp, command_id: CommandId, action: Action) {
        self.watch.routing.issued(now, &command_id, &action);
        self.watch.issued.insert(command_id, action);
    }

    /// A voter applied an entry. The first that applies an index commits it.
    pub(crate) fn applied(
        &mut self,
        now: Timestamp,
        voter: u32,
        applied: &Applied,
        tally: &mut Tally,
        trace: &mut Trace,
    ) -> Checked {
        if applied.entry.index == self.kept.next_index() {
            self.commit(now, applied, tally, trace)?;
        }
        self.kept.applied(voter, &applied.entry).map_err(of(acknowledged_is_kept::NAME))?;
        self.agree.applied(voter, applied).map_err(of(replicas_agree::NAME))
    }

    fn commit(&mut self, now: Timestamp, applied: &Applied, tally: &mut Tally, trace: &mut Trace) -> Checked {
        let entry = &applied.entry;
        let index = entry.index;
        self.kept.commit(entry);
        tally.one("entries committed");
        if let Payload::Members(members) = &entry.payload {
            tally.one("changes of who votes");
            trace.say(now, format_args!("{index} members {members:?}"));
        }
        let Self { bug, reference, watch, kept, .. } = self;
        let mut checked = Ok(());
        let replies = reference.apply(entry, now, *bug, &mut |machine, command, reply| {
            if checked.is_ok() {
                checked = watch.committed(index, machine, command, reply, kept, tally);
                say(now, index, command, reply, trace);
            }
        });
        checked?;
        let sample = index.is_multiple_of(SAMPLE_EVERY).then(|| self.reference.machine.state().clone());
        self.agree.committed(index, self.reference.print(&replies), sample);
        Ok(())
    }

    /// A client heard an answer.
    pub(crate) fn acknowledged(&mut self, now: Timestamp, command_id: &CommandId, reply: &Reply) -> Checked {
        self.watch.routing.acknowledged(now, command_id);
        self.kept.acknowledge(command_id, reply).map_err(of(acknowledged_is_kept::NAME))
    }

    pub(crate) fn bridged(&mut self, contact_id: &ContactId, token: u64) -> Checked {
        self.watch.one_reservation.bridge(contact_id, token).map_err(of(one_reservation::NAME))
    }

    pub(crate) fn logged(&mut self, cell: Cell, position: Position, kept: &Kept) -> Result<Fence, Violation> {
        self.watch.facts.logged(cell, position, kept).map_err(of(facts_are_there_once::NAME))
    }

    /// Looks at the time.
    pub(crate) fn tick(
        &self,
        now: Timestamp,
        phase: Phase,
        since: Timestamp,
        agents: &[(AgentId, Cell)],
        served: &BTreeSet<AgentId>,
    ) -> Checked {
        DeadlinesAreKept::now(&self.reference.machine, phase, now).map_err(of(deadlines_are_kept::NAME))?;
        let since: Millis = now.since(since);
        becomes_usable::in_time(phase, since, self.state(), agents, served).map_err(of(becomes_usable::NAME))
    }

    /// What must hold when everything is over.
    pub(crate) fn end(&mut self, voters: &[(u32, u64, StateHash)], tally: &mut Tally) -> Checked {
        tally.many("commands acknowledged", self.kept.acknowledged_count() as u64);
        tally.many("facts read from the log", self.watch.facts.read_count() as u64);
        self.kept.end().map_err(of(acknowledged_is_kept::NAME))?;
        ReplicasAgree::end(self.reference(), voters).map_err(of(replicas_agree::NAME))?;
        becomes_usable::end(self.state()).map_err(of(becomes_usable::NAME))?;
        let Watch { facts, seconds, routing, .. } = &mut self.watch;
        seconds.end(facts.facts()).map_err(of(seconds_add_up::NAME))?;
        count_contacts(facts.history(), tally);
        routing.end(facts.history()).map_err(of(routing_goes_on::NAME))?;
        facts.end().map_err(of(facts_are_there_once::NAME))
    }

    /// What must hold of the routers that own a cell in the end.
    pub(crate) fn routed<'a>(
        &self,
        mut routers: impl Iterator<Item = &'a Router>,
        logs: &EventLog,
        directory: &Outcome<DirectoryFact>,
    ) -> Checked {
        routers
            .try_for_each(|router| routing_goes_on::replayed(router, logs, directory))
            .map_err(of(routing_goes_on::NAME))
    }
}

impl Watch {
    fn committed(
        &mut self,
        index: u64,
        machine: &Machine,
        command: &Command,
        reply: &Reply,
        kept: &mut AcknowledgedIsKept,
        tally: &mut Tally,
    ) -> Checked {
        let state = machine.state();
        let mut from = self.next_fact.unwrap_or(OutboxKey { index, ordinal: 0 });
        if from.index < index {
            from = OutboxKey { index, ordinal: 0 };
        }
        let facts: Vec<_> = state.outbox.range(from..).map(|(key, fact)| (*key, fact.clone())).collect();
        self.next_fact =
            Some(facts.last().map_or(from, |(key, _)| OutboxKey { index, ordinal: key.ordinal + 1 }));
        let repeated = !self.applied.insert(command.command_id.clone()) && command.action.remembered();
        let issued = self.issued.get(&command.command_id);
        let it = Committed { index, command, issued, reply, state, facts: &facts, repeated };
        count(&it, tally);
        kept.committed(&it).map_err(of(acknowledged_is_kept::NAME))?;
        self.one_effect.committed(&it).map_err(of(one_effect::NAME))?;
        self.one_reservation.committed(&it).map_err(of(one_reservation::NAME))?;
        self.epochs.committed(&it).map_err(of(epochs_rise::NAME))?;
        stale_epochs_are_void::committed(&it).map_err(of(stale_epochs_are_void::NAME))?;
        self.deadlines.committed(&it).map_err(of(deadlines_are_kept::NAME))?;
        self.seconds.committed(&it).map_err(of(seconds_add_up::NAME))?;
        self.facts.committed(&it).map_err(of(facts_are_there_once::NAME))
    }
}

/// Counts what a command came to.
fn count(it: &Committed<'_>, tally: &mut Tally) {
    tally.one("commands applied");
    if it.repeated {
        tally.one("commands repeated");
    }
    let stale = it.issued.and_then(stale_epochs_are_void::claimed).is_some_and(|(resource, epoch)| {
        it.state.leases.get(&resource).and_then(|lease| lease.epoch()) != Some(epoch)
    });
    if stale {
        tally.one("commands under a stale epoch");
    }
    match it.reply {
        Ok(Done::Reserved { answers }) => {
            let refused = answers.iter().filter(|answer| answer.granted.is_err()).count();
            tally.many("wishes refused", refused as u64);
        }
        Ok(Done::Accepted) if it.facts.len() > 1 => tally.one("ringing ended by an answer"),
        Ok(_) => {}
        Err(_) => tally.one("commands rejected"),
    }
    for (_, posted) in it.facts {
        let what = match &posted.fact {
            AgentFact::AgentReserved { .. } => "reservations granted",
            AgentFact::ReservationAccepted { .. } => "reservations accepted",
            AgentFact::ReservationUnconfirmed { .. } => "reservations unconfirmed",
            AgentFact::LeaseGranted { .. } => "leases granted",
            AgentFact::LeaseLapsed { .. } => "leases lapsed",
            AgentFact::ReservationReleased { outcome, .. } => outcome_name(outcome.as_str()),
            other => other.name(),
        };
        tally.one(what);
    }
}

/// Counts what became of contacts and offers.
fn count_contacts(history: &History, tally: &mut Tally) {
    for seen in history.contact_facts() {
        match seen.fact {
            ContactFact::ContactArrived { .. } => tally.one("contacts arrived"),
            ContactFact::ContactConnected { .. } => tally.one("contacts connected"),
            ContactFact::ContactEnded { cause: ContactEndCause::MediaLost, .. } => tally.one("contacts lost"),
            _ => {}
        }
    }
    for seen in history.routing_facts() {
        match seen.fact {
            RoutingFact::PartitionTaken { .. } => tally.one("partitions taken"),
            RoutingFact::OfferMade { .. } => tally.one("offers made"),
            RoutingFact::OfferEnded { .. } => tally.one("offers ended unanswered"),
            RoutingFact::OfferAccepted { .. } => tally.one("offers accepted"),
            RoutingFact::ContactTurnedAway { .. } => tally.one("contacts turned away"),
            _ => {}
        }
    }
}

/// The count of an outcome.
fn outcome_name(outcome: &'static str) -> &'static str {
    match outcome {
        "completed" => "released: completed",
        "declined" => "released: declined",
        "unanswered" => "released: unanswered",
        "caller_gone" => "released: caller gone",
        "rescinded" => "released: rescinded",
        "expired" => "released: expired",
        "failed" => "released: failed",
        "media_lost" => "released: media lost",
        _ => "released: signed out",
    }
}

fn say(now: Timestamp, index: u64, command: &Command, reply: &Reply, trace: &mut Trace) {
    let why = match reply {
        Ok(Done::Reserved { answers }) => {
            let granted = answers.iter().filter(|answer| answer.granted.is_ok()).count();
            return trace.say(
                now,
                format_args!("{index} {} reserve: {granted} of {}", command.command_id, answers.len()),
            );
        }
        Ok(_) => "done",
        Err(why) => why.code(),
    };
    trace.say(now, format_args!("{index} {} action {}: {why}", command.command_id, command.action.kind()));
}
