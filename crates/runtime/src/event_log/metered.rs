//! The port with its metrics: what was appended, how long it took to be durable, what failed and why.

use std::collections::BTreeMap;
use std::time::Instant;

use async_trait::async_trait;
use trunkline_domain::vocabulary::{Cell, LogName, Position};

use super::{AppendTicket, EventLog, LogError, ReadFrom, Record, RecordStream, SharedLog};
use crate::telemetry::{Counter, Histogram, Telemetry, names};

/// Any log, counted. An append counts when whoever made it learns how it came out; reading is passed on as it is.
pub struct MeteredLog {
    log: SharedLog,
    telemetry: Telemetry,
    series: BTreeMap<LogName, Series>,
}

#[derive(Clone)]
struct Series {
    records: Counter,
    bytes: Counter,
    duration: Histogram,
}

impl MeteredLog {
    /// Counts what goes through `log`.
    pub fn new(log: SharedLog, telemetry: &Telemetry) -> Self {
        let series = |name: LogName| {
            let labels = [("log", name.as_str())];
            let series = Series {
                records: telemetry.counter(names::LOG_RECORDS_APPENDED, &labels),
                bytes: telemetry.counter(names::LOG_BYTES_APPENDED, &labels),
                duration: telemetry.histogram(names::LOG_APPEND, &labels),
            };
            (name, series)
        };
        Self { log, telemetry: telemetry.clone(), series: LogName::ALL.into_iter().map(series).collect() }
    }
}

#[async_trait]
impl EventLog for MeteredLog {
    fn append(&self, log: LogName, cell: Cell, record: Record) -> Result<AppendTicket, LogError> {
        let (began, size) = (Instant::now(), record.size() as u64);
        let ticket =
            self.log.append(log, cell, record).inspect_err(|error| failed(&self.telemetry, log, error))?;
        let (series, telemetry) = (self.series[&log].clone(), self.telemetry.clone());
        Ok(ticket.observed(move |outcome| match outcome {
            Ok(_) => {
                series.records.inc();
                series.bytes.add(size);
                series.duration.observe(began.elapsed());
            }
            Err(error) => failed(&telemetry, log, error),
        }))
    }

    async fn read(
        &self,
        log: LogName,
        cell: Cell,
        from: ReadFrom,
    ) -> Result<Box<dyn RecordStream>, LogError> {
        self.log.read(log, cell, from).await
    }

    async fn end(&self, log: LogName, cell: Cell) -> Result<Option<Position>, LogError> {
        self.log.end(log, cell).await
    }

    fn cell_count(&self) -> u32 {
        self.log.cell_count()
    }
}

fn failed(telemetry: &Telemetry, log: LogName, error: &LogError) {
    let labels = [("log", log.as_str()), ("reason", reason(error))];
    telemetry.counter(names::LOG_APPENDS_FAILED, &labels).inc();
}

/// A label: few, and none with a number in it.
fn reason(error: &LogError) -> &'static str {
    match error {
        LogError::UnknownPartition { .. } => "unknown_partition",
        LogError::TooLarge { .. } => "too_large",
        LogError::Overloaded { .. } => "overloaded",
        LogError::DiskFull { .. } => "disk_full",
        LogError::Quarantined { .. } => "quarantined",
        LogError::Interrupted { .. } => "interrupted",
        LogError::NoSuchPosition { .. } => "no_such_position",
        LogError::Gone { .. } => "gone",
        LogError::Gap { .. } => "gap",
        LogError::Fenced { .. } => "fenced",
        LogError::Undecodable { .. } => "undecodable",
        LogError::Closed { .. } => "closed",
        LogError::Io { .. } => "io",
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;
    use trunkline_domain::vocabulary::Epoch;

    use super::super::{EmbeddedLog, EmbeddedOptions};
    use super::*;

    fn record(payload: usize) -> Record {
        let payload = Bytes::from(vec![0; payload]);
        Record { lane: "a".to_owned(), epoch: Epoch(1), sequence: 0, headers: Vec::new(), payload }
    }

    #[tokio::test]
    async fn an_append_counts_once_by_how_it_came_out() {
        let dir = tempfile::tempdir().unwrap();
        let options =
            EmbeddedOptions { record_bytes_max: 100, ..EmbeddedOptions::new(dir.path(), "cls_test", 1) };
        let (log, _) = EmbeddedLog::open(options).unwrap();
        let telemetry = Telemetry::off();
        let metered = MeteredLog::new(Arc::new(log), &telemetry);
        metered.append(LogName::Routing, Cell(0), record(10)).unwrap().await.unwrap();
        assert!(metered.append(LogName::Routing, Cell(0), record(101)).is_err());
        assert!(metered.append(LogName::Agents, Cell(7), record(10)).is_err());

        let rendered = telemetry.metrics().render();
        for line in [
            "trunkline_log_records_appended_total{log=\"routing\"} 1",
            "trunkline_log_bytes_appended_total{log=\"routing\"} 11",
            "trunkline_log_append_duration_seconds_count{log=\"routing\"} 1",
            "trunkline_log_records_appended_total{log=\"agents\"} 0",
            "trunkline_log_appends_failed_total{log=\"routing\",reason=\"too_large\"} 1",
            "trunkline_log_appends_failed_total{log=\"agents\",reason=\"unknown_partition\"} 1",
        ] {
            assert!(rendered.lines().any(|it| it == line), "{line}\n{rendered}");
        }
    }
}
