//! Each fact is in the log once, for a reader that goes by the fence rules, and every stream is numbered without gaps.
//!
//! Without it a contact is billed twice, or never.

use std::collections::{BTreeMap, BTreeSet};

use trunkline_chaos::History;
use trunkline_chaos::invariants::{
    Invariant, one_reservation_per_agent, reservations_expire, stale_epochs_are_void, streams_have_no_gaps,
    work_seconds_add_up,
};
use trunkline_domain::agent_state::OutboxFact;
use trunkline_domain::facts::{AgentFact, Delivered, Recorded};
use trunkline_domain::vocabulary::{Cell, EventId, LogName, Position};
use trunkline_runtime::event_log::{FenceState, Verdict as Fence};

use super::{Committed, Verdict};
use crate::message::{Kept, Outcomes};

pub(crate) const NAME: &str = "facts_are_there_once";

/// The promises of the chaos suite that the agents log alone can show.
const OF_THE_LOG: [Invariant; 5] = [
    one_reservation_per_agent::INVARIANT,
    reservations_expire::INVARIANT,
    stale_epochs_are_void::INVARIANT,
    streams_have_no_gaps::INVARIANT,
    work_seconds_add_up::INVARIANT,
];

/// What was decided, and a reader of every cell.
#[derive(Debug, Default)]
pub(crate) struct FactsAreThereOnce {
    decided: BTreeMap<EventId, OutboxFact>,
    read: BTreeSet<EventId>,
    fences: BTreeMap<(LogName, Cell), FenceState>,
    sequences: BTreeMap<(Cell, String), u64>,
    /// What counts, of every log.
    history: History,
}

impl FactsAreThereOnce {
    pub(crate) fn committed(&mut self, it: &Committed<'_>) -> Verdict {
        for (key, posted) in it.facts {
            let name = format!("a{}-{}-{}", posted.cell, key.index, key.ordinal);
            let event_id = EventId::from_name(&name).map_err(|error| error.to_string())?;
            if self.decided.insert(event_id, posted.clone()).is_some() {
                return Err(format!("evt_{name} was decided twice"));
            }
        }
        Ok(())
    }

    /// The log has a record more; gives what it means to a reader.
    pub(crate) fn logged(&mut self, cell: Cell, position: Position, kept: &Kept) -> Result<Fence, String> {
        let log = kept.outcome.log();
        let verdict = self.fences.entry((log, cell)).or_default().judge(&kept.record);
        match verdict {
            Fence::Gap { expected } => {
                let Kept { record, .. } = kept;
                return Err(format!(
                    "{log}/{cell} at {position}: epoch {} has sequence {} where {expected} had to come",
                    record.epoch, record.sequence
                ));
            }
            Fence::Counts => {
                let lane = kept.record.lane.clone();
                match &kept.outcome {
                    Outcomes::Agents(outcome) => {
                        for recorded in &outcome.facts {
                            self.read(cell, recorded)
                                .map_err(|why| format!("{log}/{cell} at {position}: {why}"))?;
                        }
                        let outcome = (**outcome).clone();
                        self.history.agents.push((cell, Delivered { position, lane, outcome }));
                    }
                    Outcomes::Contacts(outcome) => {
                        let outcome = (**outcome).clone();
                        self.history.contacts.push((cell, Delivered { position, lane, outcome }));
                    }
                    Outcomes::Routing(outcome) => {
                        let outcome = (**outcome).clone();
                        self.history.routing.push((cell, Delivered { position, lane, outcome }));
                    }
                }
            }
            Fence::FenceRecord | Fence::Void { .. } | Fence::Duplicate => {}
        }
        Ok(verdict)
    }

    fn read(&mut self, cell: Cell, recorded: &Recorded<AgentFact>) -> Verdict {
        let Recorded { meta, fact } = recorded;
        let event_id = &meta.event_id;
        match self.decided.get(event_id) {
            Some(decided) if decided.fact == *fact && decided.cell == cell => {}
            Some(_) => return Err(format!("{event_id} says what was not decided")),
            None => return Err(format!("{event_id} was never decided")),
        }
        if !self.read.insert(event_id.clone()) {
            return Err(format!("{event_id} is there twice"));
        }
        let last = self.sequences.entry((cell, meta.stream.clone())).or_default();
        if meta.sequence != *last + 1 {
            let sequence = meta.sequence;
            return Err(format!("{event_id}: {} goes on with {sequence} after {last}", meta.stream));
        }
        *last = meta.sequence;
        Ok(())
    }

    /// In the end everything that was decided is there, and the log keeps the promises of the chaos suite.
    pub(crate) fn end(&mut self) -> Verdict {
        if let Some(missing) = self.decided.keys().find(|it| !self.read.contains(*it)) {
            let count = self.decided.len() - self.read.len();
            return Err(format!("{missing} is not in the log, one of {count}"));
        }
        self.history.agents.sort_by_key(|(cell, record)| (*cell, record.position));
        let found = OF_THE_LOG.iter().flat_map(|it| (it.check)(&self.history)).next();
        found.map_or(Ok(()), |violation| Err(violation.to_string()))
    }

    /// What counts, of every log.
    pub(crate) fn history(&self) -> &History {
        &self.history
    }

    /// The facts of the agents log that count, in the order of each cell.
    pub(crate) fn facts(&self) -> impl Iterator<Item = &Recorded<AgentFact>> {
        self.history.agents.iter().flat_map(|(_, record)| &record.outcome.facts)
    }

    /// How many facts a reader has.
    pub(crate) fn read_count(&self) -> usize {
        self.read.len()
    }
}
