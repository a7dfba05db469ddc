//! What an operator may say about reporting.

use serde::Deserialize;

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
    /// One sentence that names the wrong setting.
    pub fn check(&self) -> Result<(), String> {
        if (50..=60_000).contains(&self.checkpoint_every_ms) {
            Ok(())
        } else {
            Err(format!(
                "reporting.checkpoint_every_ms is {}, expected 50 to 60000",
                self.checkpoint_every_ms
            ))
        }
    }
}
