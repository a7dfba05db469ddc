//! `trunkline topics`: the logs of a data directory or the topics on Kafka, created or checked.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::json;
use trunkline_domain::vocabulary::{Cell, LogName};
use trunkline_runtime::clock::Clock;
use trunkline_runtime::event_log::kafka::{Finding, TopicShape, check, create};
use trunkline_runtime::event_log::settings::{LogKind, LogSettings, log_settings};
use trunkline_runtime::event_log::{KafkaLog, KafkaOpenError, SharedLog};
use trunkline_runtime::mint::Mint;

use crate::endpoints::DATA_DIR;
use crate::history::open_to_read;
use crate::{Failure, logs, table};

#[derive(Args)]
pub(crate) struct TopicsArgs {
    #[command(subcommand)]
    action: Action,
    /// The data directory.
    #[arg(long, default_value = DATA_DIR, env = "TRUNKLINE_DATA_DIR", global = true)]
    data: PathBuf,
    /// A TOML file whose section log says where the logs are; `trunkline.toml` of the data directory when absent.
    #[arg(long, global = true)]
    config: Option<PathBuf>,
    /// One setting, as `log.brokers=127.0.0.1:9092`; may be repeated.
    #[arg(long = "set", value_name = "SECTION.KEY=VALUE", global = true)]
    settings: Vec<String>,
    #[command(flatten)]
    shape: ShapeArgs,
    /// Print JSON instead of a table.
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Subcommand)]
enum Action {
    /// Make the five logs. In a data directory: with this many cells, or add cells; refuses one that has more. On Kafka:
    /// the topics that are missing, claimed for `log.cluster`, or for a new cluster whose name is then told.
    Create {
        /// Partitions of each log; as `log.cells` when absent.
        #[arg(long)]
        cells: Option<u32>,
    },
    /// Say what is there and whether it is as it must be.
    Check,
}

/// How topics are made on Kafka, and what is expected of them.
#[derive(Args)]
struct ShapeArgs {
    /// Kafka: replicas of each partition.
    #[arg(long, default_value_t = 3, global = true)]
    replicas: u32,
    /// Kafka: how many of them must have a record before it is acknowledged; more than half when absent.
    #[arg(long, global = true)]
    min_in_sync: Option<u32>,
    /// Kafka: how many days records are kept; for ever when absent. What is deleted can be rebuilt from nowhere.
    #[arg(long, global = true)]
    retention_days: Option<u32>,
}

impl ShapeArgs {
    fn shape(&self) -> Result<TopicShape, Failure> {
        let min_insync_replicas = self.min_in_sync.unwrap_or(self.replicas / 2 + 1);
        if self.replicas == 0 || !(1..=self.replicas).contains(&min_insync_replicas) {
            return Err(Failure::usage(format!(
                "{} replicas of which {min_insync_replicas} must be in sync: expected 1 replica or more, and 1 to as many in sync",
                self.replicas
            )));
        }
        let retention = self.retention_days.map(|days| Duration::from_secs(u64::from(days) * 86_400));
        Ok(TopicShape { replication_factor: self.replicas, min_insync_replicas, retention })
    }
}

pub(crate) async fn run(args: TopicsArgs) -> Result<(), Failure> {
    let mut section = log_settings(&args.data, args.config.as_deref(), &args.settings)
        .map_err(|error| Failure::usage(error.to_string()))?;
    if let Action::Create { cells: Some(cells) } = args.action {
        section.cells = cells;
        section.check().map_err(Failure::usage)?;
    }
    match section.kind {
        LogKind::Embedded => embedded(&args, &section).await,
        LogKind::Kafka => kafka(&args, section).await,
    }
}

async fn embedded(args: &TopicsArgs, section: &LogSettings) -> Result<(), Failure> {
    if matches!(args.action, Action::Create { .. }) {
        let mint = Mint::system(Clock::system());
        logs::open_embedded(&args.data, section, &mint).map(drop)?;
    }
    let log = open_to_read(section, &args.data).await?;
    ends(&log, None, &[], args.json).await
}

async fn kafka(args: &TopicsArgs, mut section: LogSettings) -> Result<(), Failure> {
    let shape = args.shape.shape()?;
    let failed = |error: KafkaOpenError| Failure::world(error.to_string());
    let findings = match args.action {
        Action::Create { .. } => {
            if section.cluster.is_empty() {
                section.cluster = format!("cls_{}", Mint::system(Clock::system()).name());
            }
            create(&section.kafka(), &shape).await.map_err(failed)?
        }
        Action::Check => {
            if section.cluster.is_empty() {
                section.cluster = KafkaLog::cluster_of(&section.kafka()).await.map_err(failed)?;
            }
            check(&section.kafka(), &shape).await.map_err(failed)?
        }
    };
    if !args.json {
        println!("the topics {}… belong to cluster {}", section.topic_prefix, section.cluster);
        for finding in &findings {
            println!("{}: {finding}", if finding.grave { "wrong" } else { "less than expected" });
        }
    }
    match findings.iter().find(|finding| finding.grave) {
        Some(first) => {
            if args.json {
                println!("{}", json!({"cluster": section.cluster, "findings": list(&findings), "logs": []}));
            }
            Err(Failure::world(format!("the log cannot be opened on these topics: {first}")))
        }
        None => {
            let log = open_to_read(&section, &args.data).await?;
            ends(&log, Some(&section.cluster), &findings, args.json).await
        }
    }
}

fn list(findings: &[Finding]) -> Vec<serde_json::Value> {
    let finding = |it: &Finding| json!({"grave": it.grave, "topic": it.topic, "words": it.words});
    findings.iter().map(finding).collect()
}

/// Prints each partition with its end; fails when one cannot be read.
async fn ends(
    log: &SharedLog,
    cluster: Option<&str>,
    findings: &[Finding],
    as_json: bool,
) -> Result<(), Failure> {
    let mut rows = Vec::new();
    let mut damaged = Vec::new();
    for name in LogName::ALL {
        for cell in (0..log.cell_count()).map(Cell) {
            let (state, end) = match log.end(name, cell).await {
                Ok(end) => {
                    ("good".to_owned(), end.map(|end| end.0.to_string()).unwrap_or_else(|| "-".into()))
                }
                Err(error) => {
                    damaged.push(error.to_string());
                    (error.to_string(), "?".into())
                }
            };
            rows.push(vec![name.to_string(), cell.to_string(), end, state]);
        }
    }
    if as_json {
        let logs: Vec<_> = rows
            .iter()
            .map(|row| json!({"log": row[0], "cell": row[1], "end": row[2], "state": row[3]}))
            .collect();
        match cluster {
            Some(cluster) => {
                println!("{}", json!({"cluster": cluster, "findings": list(findings), "logs": logs}))
            }
            None => println!("{}", json!({"logs": logs})),
        }
    } else {
        print!("{}", table::render(&["log", "cell", "end", "state"], &rows));
    }
    match damaged.first() {
        None => Ok(()),
        Some(first) => Err(Failure::world(format!("{} partition(s) cannot be read: {first}", damaged.len()))),
    }
}
