//! The embedded log passes the contract of the port. Segments are small, so that most cases cross several.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::sync::Arc;

use async_trait::async_trait;
use tempfile::TempDir;
use trunkline_domain::vocabulary::{Cell, LogName};
use trunkline_runtime::event_log::contract::{Limits, LogUnderTest};
use trunkline_runtime::event_log::{EmbeddedLog, EmbeddedOptions, SharedLog};
use trunkline_runtime::event_log_contract;

struct Embedded {
    log: Arc<EmbeddedLog>,
    options: EmbeddedOptions,
    dir: TempDir,
}

impl Embedded {
    fn open(options: EmbeddedOptions, dir: TempDir) -> Self {
        let (log, report) = EmbeddedLog::open(options.clone()).unwrap();
        assert_eq!(report.quarantined().count(), 0, "{report:?}");
        Self { log: Arc::new(log), options, dir }
    }
}

#[async_trait]
impl LogUnderTest for Embedded {
    async fn fresh(limits: Limits) -> Self {
        let dir = TempDir::new().unwrap();
        let options = EmbeddedOptions {
            segment_bytes: 4096,
            record_bytes_max: limits.record_bytes_max,
            pending_count_max: limits.pending_count_max,
            ..EmbeddedOptions::new(dir.path(), "contract", limits.cells)
        };
        Self::open(options, dir)
    }

    fn log(&self) -> SharedLog {
        self.log.clone()
    }

    async fn restart(self) -> Self {
        self.log.close();
        Self::open(self.options, self.dir)
    }

    async fn crash(self) -> Self {
        self.log.crash();
        Self::open(self.options, self.dir)
    }

    async fn stall(&self, log: LogName, cell: Cell) {
        self.log.faults(log, cell).stall();
    }

    async fn resume(&self, log: LogName, cell: Cell) {
        self.log.faults(log, cell).resume();
    }
}

event_log_contract!(Embedded);
