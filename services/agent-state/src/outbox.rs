//! The outbox: what the machine decided, published in the agents log exactly once, by Raft index.
//!
//! A leader opens the lane `agents` in every cell, with the Raft index of an entry it has just committed as the epoch, looks
//! back from its fence for the last record that counts, and sees the highest Raft index published there. From then on nothing an older leader appends counts,
//! so it goes on behind that index. One record is what one Raft index made in one cell: it is there whole or not at all.
//!
//! A leader that stays begins a new epoch in a cell after so many records of it: whoever comes next finds a fence not far
//! back, however old the log is.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::sync::watch;
use trunkline_domain::agent_state::{OutboxFact, OutboxKey};
use trunkline_domain::facts::{AgentFact, Outcome};
use trunkline_domain::vocabulary::{Cell, Epoch, EventId, Position};
use trunkline_proto::agent_state::v1 as api;
use trunkline_proto::agent_state::v1::logged_command::Action as Logged;
use trunkline_proto::convert::WireFact;
use trunkline_runtime::error_chain;
use trunkline_runtime::event_log::tail::{self, Fenced};
use trunkline_runtime::event_log::{AppendTicket, LaneState, LogError, SharedLog, Stored};
use trunkline_runtime::facts::FactWriter;

use crate::lead::Leading;
use crate::raft::ProposeError;

/// The lane of agent-state's leader.
pub const LANE: &str = "agents";
/// Facts taken out of the state at once.
const TAKE_COUNT_MAX: usize = 1024;
/// The pause before the state is told again what is published.
const TELL_AGAIN: Duration = Duration::from_millis(500);

/// Why publishing ended.
#[derive(Debug, thiserror::Error)]
pub enum OutboxError {
    /// The log failed, or another leader has the lane.
    #[error("could not publish agent facts")]
    Log(#[from] LogError),
    /// The progress could not be proposed.
    #[error("could not record what is published")]
    Propose(#[from] ProposeError),
    /// A fact in the lane is not named as ours are.
    #[error("{event_id} in the agents log is not named by a raft index")]
    Stranger {
        /// Its id.
        event_id: EventId,
    },
}

/// One leader's hold on the lane in every cell.
pub struct Outbox {
    log: SharedLog,
    cells: BTreeMap<Cell, Published>,
}

struct Published {
    writer: FactWriter<AgentFact>,
    /// The highest Raft index in this cell.
    through: u64,
    /// Where the last record under this epoch stands; `None` before the first.
    last: Option<Position>,
}

impl Outbox {
    /// Takes the lane with an epoch that was never used.
    ///
    /// # Errors
    /// [`LogError::Fenced`] when a newer leader has it already.
    pub async fn open(log: &SharedLog, epoch: Epoch) -> Result<Self, OutboxError> {
        let mut cells = BTreeMap::new();
        for cell in (0..log.cell_count()).map(Cell) {
            let (writer, fence) = FactWriter::<AgentFact>::open(log, cell, LANE, epoch).await?;
            let through = match tail::last(log, fenced(cell, epoch, fence)).await? {
                Some(stored) => index_in(cell, &stored)?,
                None => 0,
            };
            cells.insert(cell, Published { writer, through, last: None });
        }
        Ok(Self { log: log.clone(), cells })
    }

    /// Begins a new epoch in the cells where this one has lasted for `every` records.
    ///
    /// # Errors
    /// As of [`Outbox::open`].
    async fn renew(&mut self, leading: &Leading, every: u64) -> Result<(), OutboxError> {
        let due = |it: &&mut Published| it.writer.appended_count() >= every;
        if !self.cells.values_mut().any(|it| due(&it)) {
            return Ok(());
        }
        let epoch = leading.new_epoch().await?;
        for (cell, it) in &mut self.cells {
            let Some(last) = it.last.filter(|_| it.writer.appended_count() >= every) else { continue };
            let known = LaneState { epoch: it.writer.epoch(), sequence: it.writer.appended_count() };
            let (writer, fence) = FactWriter::open(&self.log, *cell, LANE, epoch).await?;
            tail::went_on(&self.log, fenced(*cell, epoch, fence), (last, known)).await?;
            (it.writer, it.last) = (writer, None);
        }
        Ok(())
    }

    /// Publishes what is and what comes, until something fails.
    ///
    /// # Errors
    /// The failure. The lane must be opened again, with a new epoch.
    pub async fn run(
        mut self,
        leading: &Leading,
        mut applied: watch::Receiver<u64>,
    ) -> Result<(), OutboxError> {
        // Behind what this leader has published, whether or not the state has been told yet.
        let mut behind = 0;
        loop {
            self.renew(leading, leading.lane_epoch_every).await?;
            applied.borrow_and_update();
            let taken = take(leading, behind);
            if let Some(through) = taken.last().map(|(key, _)| key.index) {
                self.publish(leading, &taken).await?;
                behind = through;
                leading.take_along(advance(leading, through))?;
                continue;
            }
            tokio::select! {
                changed = applied.changed() => if changed.is_err() { return Ok(()) },
                // An entry that was not committed took along what it says is published.
                () = tokio::time::sleep(TELL_AGAIN) => if holds_published(leading, behind) {
                    leading.take_along(advance(leading, behind))?;
                },
            }
        }
    }

    async fn publish(
        &mut self,
        leading: &Leading,
        taken: &[(OutboxKey, OutboxFact)],
    ) -> Result<(), OutboxError> {
        let mut durable = Vec::new();
        let mut outcomes: BTreeMap<(u64, Cell), Outcome<AgentFact>> = BTreeMap::new();
        for (key, waiting) in taken {
            let epoch = self.cells.get(&waiting.cell).map_or(Epoch(0), |it| it.writer.epoch());
            let outcome = outcomes.entry((key.index, waiting.cell)).or_insert_with(|| Outcome {
                epoch,
                consumed: Vec::new(),
                facts: Vec::new(),
            });
            outcome.facts.push(waiting.recorded(*key, leading.consensus.clocks().now()));
        }
        let mut tickets: Vec<(Cell, AppendTicket)> = Vec::new();
        for ((index, cell), outcome) in outcomes {
            let published = self.cells.get_mut(&cell);
            let published = published.ok_or(LogError::UnknownPartition { log: AGENTS, cell })?;
            if index <= published.through {
                continue;
            }
            loop {
                match published.writer.append(&outcome) {
                    Ok(ticket) => {
                        tickets.push((cell, ticket));
                        break;
                    }
                    Err(LogError::Overloaded { .. }) if !tickets.is_empty() => {
                        durable.extend(all(tickets.drain(..)).await?);
                    }
                    Err(error) => return Err(error.into()),
                }
            }
            published.through = index;
        }
        durable.extend(all(tickets).await?);
        for (cell, position) in durable {
            if let Some(published) = self.cells.get_mut(&cell) {
                published.last = Some(position);
            }
        }
        Ok(())
    }
}

/// Waits until all are durable; gives where each stands, in their order.
async fn all(
    tickets: impl IntoIterator<Item = (Cell, AppendTicket)>,
) -> Result<Vec<(Cell, Position)>, LogError> {
    let mut durable = Vec::new();
    for (cell, ticket) in tickets {
        durable.push((cell, ticket.await?));
    }
    Ok(durable)
}

fn fenced(cell: Cell, epoch: Epoch, at: Position) -> Fenced<'static> {
    Fenced { log: AGENTS, cell, lane: LANE, epoch, at }
}

/// The Raft index that a record is of.
fn index_in(cell: Cell, stored: &Stored) -> Result<u64, OutboxError> {
    let undecodable = |reason| LogError::Undecodable { log: AGENTS, cell, position: stored.position, reason };
    let outcome = AgentFact::decode_outcome(&stored.record.payload);
    let outcome = outcome.map_err(|error| undecodable(error_chain(&error)))?;
    let last = outcome.facts.last().ok_or_else(|| undecodable("an outcome without facts".to_owned()))?;
    let event_id = last.meta.event_id.clone();
    index_of(&event_id).ok_or(OutboxError::Stranger { event_id })
}

const AGENTS: trunkline_domain::vocabulary::LogName = trunkline_domain::vocabulary::LogName::Agents;

/// What tells the state that everything up to a Raft index is in the log.
fn advance(leading: &Leading, through: u64) -> Logged {
    Logged::OutboxAdvance(api::OutboxAdvance {
        command_id: leading.command_id(),
        published_raft_index: through,
        term: leading.term,
    })
}

/// Whether the state still holds facts that this leader has published.
fn holds_published(leading: &Leading, behind: u64) -> bool {
    let view = leading.consensus.machine().view();
    view.machine.state().outbox.keys().next().is_some_and(|first| first.index <= behind)
}

/// The next facts, up to whole Raft indexes.
fn take(leading: &Leading, behind: u64) -> Vec<(OutboxKey, OutboxFact)> {
    let view = leading.consensus.machine().view();
    let from = OutboxKey { index: behind + 1, ordinal: 0 };
    let mut taken: Vec<(OutboxKey, OutboxFact)> = Vec::new();
    for (key, fact) in view.machine.state().outbox.range(from..) {
        let full = taken.len() >= TAKE_COUNT_MAX;
        if full && taken.last().is_some_and(|(last, _)| last.index != key.index) {
            break;
        }
        taken.push((*key, fact.clone()));
    }
    taken
}

/// The Raft index in `evt_a<cell>-<index>-<ordinal>`.
fn index_of(event_id: &EventId) -> Option<u64> {
    event_id.as_str().strip_prefix("evt_a")?.split('-').nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_raft_index_is_read_back_from_the_name_of_a_fact() {
        assert_eq!(index_of(&"evt_a3-4711-2".parse().unwrap()), Some(4711));
        assert_eq!(index_of(&"evt_c-x-2".parse().unwrap()), None);
    }
}
