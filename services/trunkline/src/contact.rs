//! `trunkline contact ID`: one contact's whole story, straight from the logs.

use clap::Args;
use trunkline_domain::billing::{Item, Ledger};
use trunkline_domain::facts::{AnyFact, LogFact, Meta, Recorded};
use trunkline_domain::kernel::Projection;
use trunkline_domain::reporting::{INTERVAL, Reporting};
use trunkline_domain::vocabulary::{ContactId, LogName, Position, Timestamp};
use trunkline_proto::prose::prose;

use crate::{Failure, history, table};

#[derive(Args)]
pub(crate) struct ContactArgs {
    /// Which contact, `ctc_…`.
    contact_id: String,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    source: history::Source,
}

/// One fact of the story.
struct Line {
    log: LogName,
    position: Position,
    meta: Meta,
    name: &'static str,
    text: String,
}

pub(crate) async fn run(args: ContactArgs) -> Result<(), Failure> {
    let wanted = ContactId::parse(&args.contact_id).map_err(|error| Failure::usage(error.to_string()))?;
    let log = args.source.open().await?;
    let logs = history::read(&log).await?;
    let mut reporting = Reporting::default();
    let mut ledger = Ledger::default();
    let mut lines = Vec::new();
    for (_, record) in &logs.directory {
        record.outcome.facts.iter().for_each(|fact| reporting.definitions.fold(fact));
    }
    for (_, record) in &logs.contacts {
        for fact in &record.outcome.facts {
            reporting.contacts.fold(fact);
            lines.extend(line(&wanted, record.position, fact, AnyFact::Contacts));
        }
    }
    for (_, record) in &logs.agents {
        for fact in &record.outcome.facts {
            reporting.agents.fold(fact);
            lines.extend(line(&wanted, record.position, fact, AnyFact::Agents));
        }
    }
    for (_, record) in &logs.routing {
        for fact in &record.outcome.facts {
            lines.extend(line(&wanted, record.position, fact, AnyFact::Routing));
        }
    }
    for (_, record) in &logs.billing {
        for fact in &record.outcome.facts {
            ledger.fold(fact);
            lines.extend(line(&wanted, record.position, fact, AnyFact::Billing));
        }
    }
    let Some(record) = reporting.contacts.get(&wanted) else {
        return Err(Failure::world(format!(
            "there is no contact {wanted} in {}",
            args.source.data.display()
        )));
    };
    lines.sort_by_key(|line| line.meta.occurred_at);
    let items: Vec<&Item> = ledger.items().filter(|item| item.contact_id.as_ref() == Some(&wanted)).collect();
    let cells: Vec<(Timestamp, String)> = record
        .visits
        .iter()
        .map(|visit| (visit.entered_at.floor_to(INTERVAL), visit.queue_id.to_string()))
        .collect();
    if args.json {
        print_json(&wanted, &lines, &cells, &items);
    } else {
        print_text(&lines, &cells, &items);
    }
    Ok(())
}

fn line<F: LogFact>(
    wanted: &ContactId,
    position: Position,
    recorded: &Recorded<F>,
    any: fn(F) -> AnyFact,
) -> Option<Line> {
    let ours =
        recorded.meta.correlation_id.as_ref() == Some(wanted) || recorded.fact.contact() == Some(wanted);
    ours.then(|| Line {
        log: F::LOG,
        position,
        meta: recorded.meta.clone(),
        name: recorded.fact.name(),
        text: prose(&any(recorded.fact.clone())),
    })
}

fn print_text(lines: &[Line], cells: &[(Timestamp, String)], items: &[&Item]) {
    for line in lines {
        println!("{}  {:<9} {:<24} {}", line.meta.occurred_at, line.log.as_str(), line.name, line.text);
    }
    for (from, queue) in cells {
        println!("counts in the interval from {from} of {queue}");
    }
    if items.is_empty() {
        println!("no invoice item");
        return;
    }
    let rows: Vec<Vec<String>> = items
        .iter()
        .map(|item| {
            let causes: Vec<&str> = item.causes.iter().map(|id| id.as_str()).collect();
            vec![
                item.item_id.to_string(),
                item.line_id(),
                item.measured_ms.0.to_string(),
                item.billed_ms.0.to_string(),
                format!("{} per {} s", item.price, item.price_per_ms.0 / 1000),
                causes.join(" "),
            ]
        })
        .collect();
    print!(
        "{}",
        table::render(&["item", "invoice line", "measured ms", "billed ms", "price", "facts"], &rows)
    );
}

fn print_json(wanted: &ContactId, lines: &[Line], cells: &[(Timestamp, String)], items: &[&Item]) {
    let facts: Vec<_> = lines
        .iter()
        .map(|line| {
            serde_json::json!({
                "log": line.log.as_str(), "cell": line.meta.cell.0, "position": line.position.0,
                "event_id": line.meta.event_id.as_str(), "occurred_at_ms": line.meta.occurred_at.0,
                "traceparent": line.meta.traceparent, "name": line.name, "text": line.text,
            })
        })
        .collect();
    let intervals: Vec<_> =
        cells.iter().map(|(from, queue)| serde_json::json!({"from_ms": from.0, "queue_id": queue})).collect();
    let rated: Vec<_> = items
        .iter()
        .map(|item| {
            let causes: Vec<&str> = item.causes.iter().map(|id| id.as_str()).collect();
            serde_json::json!({
                "item_id": item.item_id.as_str(), "line_id": item.line_id(), "measured_ms": item.measured_ms.0,
                "billed_ms": item.billed_ms.0, "price": item.price.to_string(),
                "price_per_ms": item.price_per_ms.0, "causes": causes,
            })
        })
        .collect();
    let story = serde_json::json!({"contact_id": wanted.as_str(), "facts": facts, "intervals": intervals, "items": rated});
    println!("{story}");
}
