//! Which log a process works on, as an operator sets it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;

use super::{EmbeddedLog, EmbeddedOptions, KafkaLog, KafkaOpenError, KafkaOptions, OpenError, SharedLog};
use crate::config::{ConfigError, Settings, within};

/// The file of settings in a data directory; read when no other is named.
pub const FILE: &str = "trunkline.toml";
/// The directory of the embedded log under a data directory.
pub const LOG_DIR: &str = "log";

/// Where facts are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogKind {
    /// In the data directory, for one process.
    #[default]
    Embedded,
    /// On Apache Kafka.
    Kafka,
}

/// Section `log`.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LogSettings {
    /// `embedded` or `kafka`.
    pub kind: LogKind,
    /// Partitions of each log.
    pub cells: u32,
    /// Embedded: a segment ends behind this many bytes.
    pub segment_bytes: u64,
    /// The largest record.
    pub record_bytes_max: usize,
    /// Records that may wait to be durable, in one partition.
    pub pending_count_max: usize,
    /// Kafka: the brokers to begin with, as `HOST:PORT,HOST:PORT`.
    pub brokers: String,
    /// Kafka: whose topics these are, `cls_…`; minted once by `trunkline topics create`.
    pub cluster: String,
    /// Kafka: stands before the name of each log in the name of its topic.
    pub topic_prefix: String,
    /// Kafka: how long an append may wait for its acknowledgement, in ms.
    pub append_ms_max: u64,
    /// Kafka: how long the brokers may take to answer a question, in ms.
    pub answer_ms_max: u64,
    /// Kafka: settings of librdkafka on how to reach the brokers, as `"security.protocol" = "SASL_SSL"`.
    pub client: BTreeMap<String, String>,
}

impl Default for LogSettings {
    fn default() -> Self {
        let kafka = KafkaOptions::new("", "", 1);
        let ms = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        Self {
            kind: LogKind::Embedded,
            cells: 1,
            segment_bytes: 64 << 20,
            record_bytes_max: 1 << 20,
            pending_count_max: 4096,
            brokers: String::new(),
            cluster: String::new(),
            append_ms_max: ms(kafka.append_deadline),
            answer_ms_max: ms(kafka.answer_deadline),
            topic_prefix: kafka.topic_prefix,
            client: BTreeMap::new(),
        }
    }
}

impl LogSettings {
    /// Checks every setting.
    ///
    /// # Errors
    /// One sentence that begins with the wrong setting.
    pub fn check(&self) -> Result<(), String> {
        if self.cells == 0 || self.cells > 1024 {
            return Err("cells: a log has 1 to 1,024 cells".into());
        }
        if self.segment_bytes > 1 << 30 {
            return Err("segment_bytes: a segment has at most 1 GiB".into());
        }
        if self.record_bytes_max == 0 || self.record_bytes_max > 64 << 20 {
            return Err("record_bytes_max: a record has 1 byte to 64 MiB".into());
        }
        if self.pending_count_max == 0 {
            return Err("pending_count_max: at least one record must be able to wait".into());
        }
        within("append_ms_max", self.append_ms_max, 100..=600_000)?;
        within("answer_ms_max", self.answer_ms_max, 100..=600_000)?;
        let named = |text: &str| !text.trim().is_empty();
        match self.kind {
            LogKind::Kafka if !named(&self.brokers) => {
                Err("brokers: the log on kafka needs at least one broker, as host:port".into())
            }
            LogKind::Embedded if named(&self.brokers) => {
                Err("brokers: the embedded log has none; set log.kind=kafka".into())
            }
            LogKind::Kafka | LogKind::Embedded => Ok(()),
        }
    }

    /// As [`LogSettings::check`], for a process that writes: it must know whose topics it wants.
    ///
    /// # Errors
    /// Likewise.
    pub fn check_to_write(&self) -> Result<(), String> {
        self.check()?;
        if self.kind == LogKind::Kafka && self.cluster.is_empty() {
            return Err(
                "cluster: name the cluster that `trunkline topics create` told when it made the topics"
                    .into(),
            );
        }
        Ok(())
    }

    /// How the embedded log of a data directory is opened.
    pub fn embedded(&self, data: &Path, cluster: String) -> EmbeddedOptions {
        EmbeddedOptions {
            segment_bytes: self.segment_bytes,
            record_bytes_max: self.record_bytes_max,
            pending_count_max: self.pending_count_max,
            ..EmbeddedOptions::new(data.join(LOG_DIR), cluster, self.cells)
        }
    }

    /// How the log on Kafka is opened.
    pub fn kafka(&self) -> KafkaOptions {
        KafkaOptions {
            topic_prefix: self.topic_prefix.clone(),
            record_bytes_max: self.record_bytes_max,
            pending_count_max: self.pending_count_max,
            append_deadline: Duration::from_millis(self.append_ms_max),
            answer_deadline: Duration::from_millis(self.answer_ms_max),
            settings: self.client.clone(),
            ..KafkaOptions::new(&self.brokers, &self.cluster, self.cells)
        }
    }

    /// Opens the log for reading; processes may be writing it. Makes nothing. `data` is the data directory that holds an
    /// embedded log.
    ///
    /// # Errors
    /// When there is none, or it cannot be read.
    pub async fn open_to_read(&self, data: &Path) -> Result<SharedLog, ReadError> {
        match self.kind {
            LogKind::Kafka => {
                let mut options = self.kafka();
                if options.cluster.is_empty() {
                    options.cluster = KafkaLog::cluster_of(&options).await?;
                }
                Ok(Arc::new(KafkaLog::open(options).await?))
            }
            LogKind::Embedded => {
                let dir = data.join(LOG_DIR);
                if !dir.is_dir() {
                    return Err(ReadError::NoLogs { data: data.to_owned() });
                }
                Ok(Arc::new(EmbeddedLog::open_read_only(&dir)?))
            }
        }
    }
}

/// Why the logs cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The directory says nothing of a log.
    #[error("{} holds no logs: expected a directory `{LOG_DIR}` or a file `{FILE}` in it", data.display())]
    NoLogs {
        /// The data directory.
        data: PathBuf,
    },
    /// The embedded log cannot be opened.
    #[error(transparent)]
    Embedded(#[from] OpenError),
    /// The log on Kafka cannot be opened.
    #[error(transparent)]
    Kafka(#[from] KafkaOpenError),
}

/// The settings of the process on a data directory, or of a cluster whose directory it is: the file named, or the
/// directory's own, and over it the environment.
///
/// # Errors
/// When a file cannot be read or is not TOML, or a variable is not of our form.
pub fn settings(data: &Path, file: Option<&Path>) -> Result<Settings, ConfigError> {
    let of_data = data.join(FILE);
    let settings = match file {
        Some(file) => Settings::new().file(file)?,
        None if of_data.is_file() => Settings::new().file(&of_data)?,
        None => Settings::new(),
    };
    settings.environment(std::env::vars_os())
}

/// The section `log` of [`settings`] alone, for who reads: the other sections may say what they like.
///
/// # Errors
/// As of [`settings`], and when the section is wrong.
pub fn log_settings(data: &Path, file: Option<&Path>, flags: &[String]) -> Result<LogSettings, ConfigError> {
    let mut settings = settings(data, file)?.flags(flags.iter().map(String::as_str))?;
    settings.section("log", LogSettings::check)
}
