//! What an operator may say about reporting.

use serde::Deserialize;
use trunkline_runtime::config::within;

/// The configuration.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ReportingConfig {
    /// How often what was folded is stored, in milliseconds: 50 to 60,000. After a crash at most this much is folded
    /// again from the logs.
    pub checkpoint_every_ms: u64,
}

impl Default for ReportingConfig {
    fn default() -> Self {
        Self { checkpoint_every_ms: 500 }
    }
}

impl ReportingConfig {
    /// Checks everything that can be checked before a socket opens.
    ///
    /// # Errors
    /// One sentence that begins with the wrong setting.
    pub fn check(&self) -> Result<(), String> {
        within("checkpoint_every_ms", self.checkpoint_every_ms, 50..=60_000)
    }
}
