//! `trunkline tail`: a log as prose, one line a fact.

use clap::Args;
use std::io::Write;
use trunkline_domain::facts::{
    AgentFact, AnyFact, BillingFact, ContactFact, Delivered, DirectoryFact, Meta, RoutingFact,
};
use trunkline_domain::vocabulary::{Cell, LogName, Position};
use trunkline_proto::convert::WireFact;
use trunkline_proto::prose::prose;
use trunkline_runtime::event_log::{LogError, ReadFrom, SharedLog};
use trunkline_runtime::facts::FactReader;

use crate::{Failure, history};

#[derive(Args)]
pub(crate) struct TailArgs {
    /// Which log: directory, contacts, routing, agents, billing, or all.
    #[arg(default_value = "all")]
    log: String,
    /// Only this partition.
    #[arg(long)]
    cell: Option<u32>,
    /// Only facts of this contact.
    #[arg(long)]
    contact: Option<String>,
    /// Only facts whose stream is this (an agent, a contact, a company).
    #[arg(long)]
    stream: Option<String>,
    /// Only facts of this name, as `OfferMade`.
    #[arg(long)]
    name: Option<String>,
    /// Go on with what comes, until interrupted.
    #[arg(short, long)]
    follow: bool,
    /// One line of JSON a fact.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    source: history::Source,
}

/// One fact, ready to print.
struct Line {
    log: LogName,
    position: Position,
    name: &'static str,
    meta: Meta,
    fact: AnyFact,
}

pub(crate) async fn run(args: TailArgs) -> Result<(), Failure> {
    let log = args.source.open().await?;
    let wanted: Vec<LogName> =
        if args.log == "all" { LogName::ALL.to_vec() } else { vec![history::log_named(&args.log)?] };
    let (sender, mut lines) = tokio::sync::mpsc::channel::<Result<Line, LogError>>(1024);
    for name in &wanted {
        for cell in (0..log.cell_count()).map(Cell).filter(|cell| args.cell.is_none_or(|only| only == cell.0))
        {
            let (log, sender, follow) = (log.clone(), sender.clone(), args.follow);
            let any = *name;
            tokio::spawn(async move {
                let result = match any {
                    LogName::Directory => {
                        feed::<DirectoryFact>(&log, cell, follow, &sender, AnyFact::Directory).await
                    }
                    LogName::Contacts => {
                        feed::<ContactFact>(&log, cell, follow, &sender, AnyFact::Contacts).await
                    }
                    LogName::Routing => {
                        feed::<RoutingFact>(&log, cell, follow, &sender, AnyFact::Routing).await
                    }
                    LogName::Agents => feed::<AgentFact>(&log, cell, follow, &sender, AnyFact::Agents).await,
                    LogName::Billing => {
                        feed::<BillingFact>(&log, cell, follow, &sender, AnyFact::Billing).await
                    }
                };
                if let Err(error) = result {
                    let _ = sender.send(Err(error)).await;
                }
            });
        }
    }
    drop(sender);
    let mut whole = Vec::new();
    while let Some(line) = lines.recv().await {
        let line = line.map_err(|error| Failure::world(error.to_string()))?;
        if !args.wants(&line) {
            continue;
        }
        if args.follow {
            args.print(&line)?;
        } else {
            whole.push(line);
        }
    }
    // Between logs only time gives an order; within one log its own order is kept.
    whole.sort_by_key(|line| line.meta.occurred_at);
    for line in &whole {
        args.print(line)?;
    }
    Ok(())
}

async fn feed<F: WireFact>(
    log: &SharedLog,
    cell: Cell,
    follow: bool,
    lines: &tokio::sync::mpsc::Sender<Result<Line, LogError>>,
    any: fn(F) -> AnyFact,
) -> Result<(), LogError> {
    let mut reader = FactReader::<F>::open(log, cell, ReadFrom::Start).await?;
    if follow {
        loop {
            let delivered = reader.next().await?;
            for line in split(delivered, any) {
                if lines.send(Ok(line)).await.is_err() {
                    return Ok(());
                }
            }
        }
    }
    let mut whole = Vec::new();
    reader.fold_to_end(|delivered| whole.extend(split(delivered, any))).await?;
    for line in whole {
        if lines.send(Ok(line)).await.is_err() {
            return Ok(());
        }
    }
    Ok(())
}

fn split<F: WireFact>(delivered: Delivered<F>, any: fn(F) -> AnyFact) -> Vec<Line> {
    let position = delivered.position;
    let facts = delivered.outcome.facts.into_iter();
    facts
        .map(|recorded| Line {
            log: F::LOG,
            position,
            name: recorded.fact.name(),
            meta: recorded.meta,
            fact: any(recorded.fact),
        })
        .collect()
}

impl TailArgs {
    fn wants(&self, line: &Line) -> bool {
        let contact = line.meta.correlation_id.as_ref().map(|id| id.as_str());
        self.contact.as_deref().is_none_or(|only| contact == Some(only) || line.meta.stream == only)
            && self.stream.as_deref().is_none_or(|only| line.meta.stream == only)
            && self.name.as_deref().is_none_or(|only| line.name == only)
    }

    fn print(&self, line: &Line) -> Result<(), Failure> {
        let mut out = std::io::stdout().lock();
        let result = if self.json {
            let value = serde_json::json!({
                "log": line.log.as_str(), "cell": line.meta.cell.0, "position": line.position.0,
                "event_id": line.meta.event_id.as_str(), "stream": line.meta.stream, "sequence": line.meta.sequence,
                "occurred_at_ms": line.meta.occurred_at.0, "recorded_at_ms": line.meta.recorded_at.0,
                "correlation_id": line.meta.correlation_id.as_ref().map(|id| id.as_str()),
                "causation_id": line.meta.causation_id.as_ref().map(|id| id.as_str()),
                "traceparent": line.meta.traceparent, "name": line.name, "text": prose(&line.fact),
            });
            writeln!(out, "{value}")
        } else {
            writeln!(
                out,
                "{}  {:<9} {:<30} {}",
                line.meta.occurred_at,
                line.log.as_str(),
                line.meta.stream,
                prose(&line.fact)
            )
        };
        match result {
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => std::process::exit(0),
            other => Ok(other?),
        }
    }
}
