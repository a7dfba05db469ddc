//! Log lines: text for people, JSON for machines.

use serde::Deserialize;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use super::TelemetryConfig;

/// The form of log lines.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// Why log lines cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum LogsError {
    /// The filter is wrong.
    #[error("could not read the log filter: {0}")]
    Filter(String),
    /// They were set up before.
    #[error("log lines are set up already")]
    Twice,
}

/// What is wrong with a filter.
pub(super) fn check_filter(filter: &str) -> Result<(), String> {
    EnvFilter::try_new(filter).map(|_| ()).map_err(|error| error.to_string())
}

/// Sets up log lines of the whole process, on standard error. Once a process.
///
/// # Errors
/// When the filter is wrong or it was done before.
pub fn start_logs(config: &TelemetryConfig) -> Result<(), LogsError> {
    let filter =
        EnvFilter::try_new(&config.log_filter).map_err(|error| LogsError::Filter(error.to_string()))?;
    // The SIP transaction layer writes whole messages, telephone numbers included, at every level below `error`.
    let quiet = "rsipstack=error".parse().expect("a target and a level are a directive");
    let registry = tracing_subscriber::registry().with(filter.add_directive(quiet));
    let started = match config.log_format {
        LogFormat::Text => {
            let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(false);
            registry.with(lines).try_init()
        }
        LogFormat::Json => {
            let lines = tracing_subscriber::fmt::layer().json().with_writer(std::io::stderr);
            registry.with(lines.flatten_event(true).with_current_span(true)).try_init()
        }
    };
    started.map_err(|_| LogsError::Twice)
}
