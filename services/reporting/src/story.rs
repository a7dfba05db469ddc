//! The whole story of a contact, read again from the logs.

use trunkline_domain::facts::{AnyFact, LogFact, Recorded};
use trunkline_domain::vocabulary::{ContactId, Position};
use trunkline_proto::convert::decode_any;
use trunkline_proto::prose::prose;
use trunkline_proto::reporting::v1::FactLine;
use trunkline_runtime::error_chain;
use trunkline_runtime::event_log::{LogError, ReadFrom, SharedLog};

use crate::book::Chapter;

/// Records read for one story, at most; a longer story is cut at the end.
pub const CHAPTER_COUNT_MAX: usize = 2_000;

/// The facts of a contact in the records `chapters`, in order of time, then of the flow.
///
/// # Errors
/// When a log cannot be read or a record not understood.
pub async fn tell(
    log: &SharedLog,
    contact_id: &ContactId,
    chapters: impl IntoIterator<Item = (Chapter, Option<Position>)>,
) -> Result<Vec<FactLine>, LogError> {
    let mut lines = Vec::new();
    for (chapter, before) in chapters.into_iter().take(CHAPTER_COUNT_MAX) {
        for event in read(log, chapter, before).await? {
            if contact_of(&event.fact) == Some(contact_id) {
                lines.push(line(chapter, &event));
            }
        }
    }
    // Stable: facts of one instant stay in the order of logs and records, which is the order of the flow.
    lines.sort_by_key(|it| it.occurred_at_ms);
    Ok(lines)
}

async fn read(
    log: &SharedLog,
    (name, cell, position): Chapter,
    before: Option<Position>,
) -> Result<Vec<Recorded<AnyFact>>, LogError> {
    let mut stream = log.read(name, cell, before.map_or(ReadFrom::Start, ReadFrom::After)).await?;
    loop {
        let stored = stream.next().await?;
        if stored.position == position {
            let outcome = decode_any(name, &stored.record.payload);
            return outcome.map(|it| it.facts).map_err(|error| {
                let reason = error_chain(&error);
                LogError::Undecodable { log: name, cell, position, reason }
            });
        }
        if stored.position > position {
            return Err(LogError::Gone { log: name, cell, after: position });
        }
    }
}

fn contact_of(fact: &AnyFact) -> Option<&ContactId> {
    match fact {
        AnyFact::Directory(it) => it.contact(),
        AnyFact::Contacts(it) => it.contact(),
        AnyFact::Routing(it) => it.contact(),
        AnyFact::Agents(it) => it.contact(),
        AnyFact::Billing(it) => it.contact(),
    }
}

fn name_of(fact: &AnyFact) -> &'static str {
    match fact {
        AnyFact::Directory(it) => it.name(),
        AnyFact::Contacts(it) => it.name(),
        AnyFact::Routing(it) => it.name(),
        AnyFact::Agents(it) => it.name(),
        AnyFact::Billing(it) => it.name(),
    }
}

fn line((log, cell, position): Chapter, event: &Recorded<AnyFact>) -> FactLine {
    FactLine {
        event_id: event.meta.event_id.to_string(),
        log: log.as_str().to_owned(),
        cell: cell.0,
        position: position.0,
        occurred_at_ms: event.meta.occurred_at.0,
        name: name_of(&event.fact).to_owned(),
        text: prose(&event.fact),
    }
}
