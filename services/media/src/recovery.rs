//! Beginning an ownership: drain what an earlier one left in the spool, fence every cell's lane, fold it, and end what an
//! earlier life of this node had lost.

use std::sync::{Arc, PoisonError};

use tracing::info;
use trunkline_domain::facts::{
    AgentFact, ContactFact, DirectoryFact, Meta, Outcome, Recorded, ReleaseOutcome,
};
use trunkline_domain::kernel::Projection;
use trunkline_domain::media::LiveContacts;
use trunkline_domain::vocabulary::{Cell, ContactId, EventId, LogName};
use trunkline_runtime::event_log::{LogError, ReadFrom};
use trunkline_runtime::facts::FactReader;
use trunkline_runtime::health::Component;
use trunkline_runtime::lease::Lease;
use trunkline_runtime::shutdown::Shutdown;
use trunkline_runtime::spool::{SpoolError, SpoolState, SpooledWriter};

use crate::generation::Generation;
use crate::shell::Node;

/// The lane of a node's facts, and the resource of its lease.
pub(crate) fn lane(node: &Node) -> String {
    format!("media/{}", node.platform.node_id)
}

/// Opens the lane under a lease that was just taken, and ends every contact it finds alive, once.
///
/// # Errors
/// When the log cannot be read or written, or the spool of an earlier ownership not be drained. There is no new fence
/// before that: behind it the facts in the spool would be void.
pub(crate) async fn begin(node: &Arc<Node>, lease: &Lease) -> Result<Arc<Generation>, SpoolError> {
    let lane = lane(node);
    let log = &node.platform.log;
    for cell in (0..log.cell_count()).map(Cell) {
        node.spool.drain(log, LogName::Contacts, cell, &lane).await?;
    }
    let mut writers = Vec::new();
    let fenced = fence(node, lease, &lane, &mut writers).await;
    let generation = Arc::new(Generation::new(lease, writers));
    match fenced {
        Ok(()) => Ok(generation),
        Err(error) => {
            generation.end().await;
            Err(error)
        }
    }
}

/// Begins the epoch in every cell, and puts a writer for each into `writers`.
async fn fence(
    node: &Arc<Node>,
    lease: &Lease,
    lane: &str,
    writers: &mut Vec<SpooledWriter<ContactFact>>,
) -> Result<(), SpoolError> {
    let log = &node.platform.log;
    let mut lost_count = 0;
    for cell in (0..log.cell_count()).map(Cell) {
        let (writer, fence) = SpooledWriter::open(log, &node.spool, cell, lane, lease.epoch).await?;
        writers.push(writer);
        let writer = &writers[writers.len() - 1];
        let mut reader = FactReader::<ContactFact>::open(log, cell, ReadFrom::Start).await?;
        let mut live = LiveContacts::default();
        writer
            .catch_up(&mut reader, fence, |delivered| {
                if delivered.lane == lane {
                    delivered.outcome.facts.iter().for_each(|fact| live.fold(fact));
                }
            })
            .await?;
        for (contact_id, contact) in live.take() {
            lost_count += 1;
            let at = contact.lost_at(lease.previous_renewed_at);
            let mut causation_id = contact.last_event_id.clone();
            let mut sequence = contact.last_sequence;
            let span = node
                .platform
                .telemetry
                .span(trunkline_runtime::telemetry::names::span::HANG_UP, &contact.traceparent);
            let facts = contact.lost(&contact_id, at).into_iter().map(|fact| {
                node.meter(&fact);
                sequence += 1;
                let event_id = event_id(&contact_id, sequence);
                let meta = Meta {
                    event_id: event_id.clone(),
                    cell,
                    stream: contact_id.to_string(),
                    sequence,
                    occurred_at: at,
                    recorded_at: node.now(),
                    correlation_id: Some(contact_id.clone()),
                    causation_id: Some(std::mem::replace(&mut causation_id, event_id)),
                    traceparent: span.traceparent(),
                };
                Recorded { meta, fact }
            });
            let outcome = Outcome { epoch: lease.epoch, consumed: Vec::new(), facts: facts.collect() };
            writer.append(&outcome).await?;
        }
    }
    if lost_count > 0 {
        info!(lost_count, "contacts of an earlier life of this node ended as lost");
    }
    Ok(release_lost(node, lease).await?)
}

/// The id of a contact's fact: a function of contact and sequence.
pub(crate) fn event_id(contact_id: &ContactId, sequence: u64) -> EventId {
    let name = contact_id.as_str().trim_start_matches(ContactId::PREFIX).trim_start_matches('_');
    // A name keeps 60 characters at most with `c-` and the number: minted names have 26.
    EventId::from_name(&format!("c-{name}-{sequence}"))
        .expect("a minted contact's name and a number are of the alphabet of ids, 50 characters at most")
}

/// Every reservation for a contact of this node is one of a contact that was lost: no contact has begun yet.
async fn release_lost(node: &Arc<Node>, lease: &Lease) -> Result<(), LogError> {
    let mut phones = trunkline_domain::media::Phones::default();
    for cell in (0..node.platform.log.cell_count()).map(Cell) {
        let mut reader = FactReader::<AgentFact>::open(&node.platform.log, cell, ReadFrom::Start).await?;
        reader
            .fold_to_end(|delivered| delivered.outcome.facts.iter().for_each(|fact| phones.fold(fact)))
            .await?;
    }
    for (offer_id, held) in phones.reservations_of(&node.platform.node_id) {
        let outcome = ReleaseOutcome::MediaLost;
        node.release(offer_id, held.agent_id, held.token, outcome, lease.epoch, String::new());
    }
    Ok(())
}

/// Folds the directory log into the node; first to its end, then as it grows.
pub(crate) async fn follow_directory(
    node: Arc<Node>,
    mut reader: FactReader<DirectoryFact>,
    shutdown: Shutdown,
) {
    loop {
        let delivered = tokio::select! {
            biased;
            () = shutdown.begun() => return,
            delivered = reader.next() => delivered,
        };
        match delivered {
            Ok(delivered) => {
                let mut directory = node.directory.write().unwrap_or_else(PoisonError::into_inner);
                delivered.outcome.facts.iter().for_each(|fact| directory.fold(fact));
            }
            Err(error) => return stop(&node, "directory", &error, &shutdown),
        }
    }
}

/// Folds one cell of the agents log into the node, as it grows.
pub(crate) async fn follow_agents(node: Arc<Node>, mut reader: FactReader<AgentFact>, shutdown: Shutdown) {
    loop {
        let delivered = tokio::select! {
            biased;
            () = shutdown.begun() => return,
            delivered = reader.next() => delivered,
        };
        match delivered {
            Ok(delivered) => {
                let mut phones = node.phones.write().unwrap_or_else(PoisonError::into_inner);
                delivered.outcome.facts.iter().for_each(|fact| phones.fold(fact));
            }
            Err(error) => return stop(&node, "agents", &error, &shutdown),
        }
    }
}

/// Says of the facts whether they go to the log, and if not, why and how much waits.
pub(crate) async fn follow_spool(node: Arc<Node>, component: Component, shutdown: Shutdown) {
    let mut spool = node.spool.watch();
    loop {
        say(&component, &spool.borrow_and_update());
        tokio::select! {
            biased;
            () = shutdown.begun() => return,
            // The sender lives in the node.
            _ = spool.changed() => {}
        }
    }
}

fn say(component: &Component, spool: &SpoolState) {
    let SpoolState { record_count, bytes, bytes_max, .. } = spool;
    match spool.reason() {
        None => component.ready(),
        Some(reason) if spool.short_of_room() => component
            .not_ready(format!("the spool is full, {bytes} of {bytes_max} bytes: no new calls; {reason}")),
        Some(reason) => {
            component.ready_with(format!("spools its facts: {reason}, {record_count} records, {bytes} bytes"))
        }
    }
}

/// A log that cannot be read any more leaves the node with what it knew, and says so.
fn stop(node: &Node, log: &'static str, error: &LogError, shutdown: &Shutdown) {
    if !shutdown.is_begun() {
        tracing::error!(log, %error, "a log can no longer be followed");
        let said = format!("the {log} log can no longer be followed");
        node.platform.health.component("media logs").not_ready(said);
    }
}
