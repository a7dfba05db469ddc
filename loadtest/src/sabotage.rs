//! The logs of a run, written again as broken transactions and zombies would have left them: every record twice, and at
//! the end all records of superseded owners once more. Nothing of it may change a state: exactly-once rests on epochs and
//! sequences, not on the log.

use std::collections::BTreeMap;
use std::path::Path;

use trunkline_domain::vocabulary::{Cell, Epoch, LogName};
use trunkline_runtime::event_log::kafka::{TopicShape, create};
use trunkline_runtime::event_log::settings::log_settings;
use trunkline_runtime::event_log::{AppendTicket, EventLog, KafkaLog, ReadFrom, Record};

use crate::Failure;

/// The topics of the sabotaged logs.
const PREFIX: &str = "sabotaged.";
/// Records under way at a time.
const UNDER_WAY_MAX: usize = 512;

/// Writes the logs of the data directory `from`, which are on Kafka, into other topics of the same brokers, sabotaged, and
/// makes `to` a data directory that names them. Gives how many records were written too much.
///
/// # Errors
/// When the logs cannot be read, or the others not be written.
pub async fn sabotage(from: &Path, to: &Path) -> Result<u64, Failure> {
    let settings = log_settings(from, None, &[]).map_err(Failure::new)?;
    let source = settings.open_to_read(from).await.map_err(Failure::new)?;
    let mut options = settings.kafka();
    PREFIX.clone_into(&mut options.topic_prefix);
    let replicas = u32::try_from(options.brokers.split(',').count()).unwrap_or(1);
    let shape =
        TopicShape { replication_factor: replicas, min_insync_replicas: replicas / 2 + 1, retention: None };
    create(&options, &shape).await.map_err(Failure::new)?;
    let target = KafkaLog::open(options).await.map_err(Failure::new)?;
    let mut extra_count = 0;
    for name in LogName::ALL {
        for cell in (0..source.cell_count()).map(Cell) {
            let Some(end) = source.end(name, cell).await.map_err(Failure::new)? else { continue };
            let mut records = source.read(name, cell, ReadFrom::Start).await.map_err(Failure::new)?;
            let mut all: Vec<Record> = Vec::new();
            loop {
                let stored = records.next().await.map_err(Failure::new)?;
                all.push(stored.record);
                if stored.position >= end {
                    break;
                }
            }
            let newest = all.iter().fold(BTreeMap::<String, Epoch>::new(), |mut newest, record| {
                let epoch = newest.entry(record.lane.clone()).or_insert(record.epoch);
                *epoch = (*epoch).max(record.epoch);
                newest
            });
            let zombies: Vec<Record> =
                all.iter().filter(|it| newest.get(&it.lane) > Some(&it.epoch)).cloned().collect();
            extra_count += (all.len() + zombies.len()) as u64;
            let twice = all.into_iter().flat_map(|record| [record.clone(), record]);
            append(&target, name, cell, twice.chain(zombies)).await?;
        }
    }
    tokio::task::spawn_blocking(move || target.close()).await.map_err(Failure::new)?;
    std::fs::create_dir_all(to)?;
    let named = format!(
        "[log]\nkind = \"kafka\"\nbrokers = \"{}\"\ncluster = \"{}\"\ntopic_prefix = \"{PREFIX}\"\n",
        settings.brokers, settings.cluster
    );
    std::fs::write(to.join("trunkline.toml"), named)?;
    Ok(extra_count)
}

async fn append(
    log: &KafkaLog,
    name: LogName,
    cell: Cell,
    records: impl Iterator<Item = Record>,
) -> Result<(), Failure> {
    let mut under_way: Vec<AppendTicket> = Vec::new();
    for record in records {
        under_way.push(log.append(name, cell, record).map_err(Failure::new)?);
        if under_way.len() >= UNDER_WAY_MAX {
            for ticket in under_way.drain(..) {
                ticket.await.map_err(Failure::new)?;
            }
        }
    }
    for ticket in under_way {
        ticket.await.map_err(Failure::new)?;
    }
    Ok(())
}
