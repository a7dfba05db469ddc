//! What the demo shows: stories, tables, addresses.

use serde_json::Value;

use crate::Failure;
use crate::checks::{Findings, company_ids};
use crate::http::{int, list, text};
use crate::plan::{COMPANIES, OPERATOR_KEY};
use crate::stage::Stage;

/// Prints each contact's story as `trunkline contact` tells it.
pub async fn stories(stage: &Stage, findings: &Findings<'_>) -> Result<(), Failure> {
    let mut contacts: Vec<_> = findings.history.contacts.values().collect();
    contacts.sort_by_key(|contact| contact.arrived_at);
    for contact in contacts {
        let served = if contact.agent_id.is_empty() { "nobody" } else { &contact.agent_id };
        println!(
            "\n── {}  {}  {} (served by {served}, talked {} ms)",
            contact.contact_id, contact.company_id, contact.cause, contact.talked_ms
        );
        print!("{}", stage.trunkline.demand(&["contact", &contact.contact_id]).await?);
    }
    Ok(())
}

/// Prints the interval report, the timesheets and the three running invoices.
pub fn tables(findings: &Findings<'_>) {
    println!("\nInterval report (visits by the 15 minutes of their entry, UTC)");
    let header =
        ["from", "queue", "entered", "answered", "abandoned", "flowed out", "waiting", "wait s", "talk s"];
    let mut rows = Vec::new();
    for company in company_ids() {
        for cell in findings.intervals.get(company).map_or(&[][..], |it| list(it, "cells")) {
            let waited = int(cell, "answered_wait_ms") + int(cell, "abandoned_wait_ms");
            let mut row = vec![clock(int(cell, "from_ms")), text(cell, "queue_id").to_owned()];
            for name in
                ["entered_count", "answered_count", "abandoned_count", "flowed_out_count", "waiting_count"]
            {
                row.push(int(cell, name).to_string());
            }
            row.extend([seconds(waited), seconds(int(cell, "talk_ms"))]);
            rows.push(row);
        }
    }
    table(&header, &rows);

    println!("\nTimesheets (every second of a session is one activity)");
    let lines = list(&findings.timesheets, "lines");
    let rows: Vec<Vec<String>> = lines
        .iter()
        .map(|line| {
            let reason = match text(line, "reason") {
                "" => String::new(),
                reason => format!(" ({reason})"),
            };
            vec![
                text(line, "agent_id").to_owned(),
                format!("{}{reason}", text(line, "activity")),
                text(line, "company_id").to_owned(),
                seconds(int(line, "duration_ms")),
            ]
        })
        .collect();
    table(&["agent", "activity", "for", "s"], &rows);

    for company in company_ids() {
        let invoice = findings.invoices.get(company).unwrap_or(&Value::Null);
        let currency = text(invoice, "currency");
        println!("\nRunning invoice of {} for {}", text(invoice, "company_name"), text(invoice, "month"));
        let mut rows: Vec<Vec<String>> = list(invoice, "lines")
            .iter()
            .map(|line| {
                vec![
                    text(line, "description").to_owned(),
                    int(line, "item_count").to_string(),
                    seconds(int(line, "measured_ms")),
                    seconds(int(line, "billed_ms")),
                    money(int(line, "amount_micros"), currency),
                ]
            })
            .collect();
        let total = money(int(invoice, "total_micros"), currency);
        rows.push(vec!["total".to_owned(), String::new(), String::new(), String::new(), total]);
        table(&["line", "items", "measured s", "charged s", "amount"], &rows);
    }
}

/// Prints where to look, and with which key.
pub fn urls(stage: &Stage) {
    let (http, sip) = (&stage.cluster.addresses.http, &stage.cluster.addresses.sip);
    println!("\nStill up; Ctrl-C ends it.");
    println!("  page     http://{http}/            key {OPERATOR_KEY}");
    for company in COMPANIES {
        println!("  company  http://{http}/v1/companies/{}/contacts   key {}", company.id, company.key);
    }
    sip.iter().for_each(|sip| println!("  sip      sip:{sip} (UDP and TCP)"));
    stage.cluster.addresses.ops.iter().for_each(|ops| println!("  health   http://{ops}/readyz"));
    println!("  logs     {}", stage.trunkline.data.display());
}

/// `HH:MM` of a Unix time.
fn clock(ms: i64) -> String {
    let minutes = ms.div_euclid(60_000).rem_euclid(1_440);
    format!("{:02}:{:02}", minutes / 60, minutes % 60)
}

fn seconds(ms: i64) -> String {
    format!("{}.{:03}", ms / 1_000, ms % 1_000)
}

/// Micro-units to cents; amounts on invoices are whole cents.
fn money(micros: i64, currency: &str) -> String {
    format!("{}.{:02} {currency}", micros / 1_000_000, micros / 10_000 % 100)
}

/// Columns as wide as their widest; numbers to the right.
fn table(header: &[&str], rows: &[Vec<String>]) {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
        cells.chain([header[column].chars().count()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..header.len()).map(width).collect();
    let line = |cells: &[String]| {
        let mut text = String::new();
        for (cell, width) in cells.iter().zip(&widths) {
            let number = cell.starts_with(|it: char| it.is_ascii_digit());
            let pad = " ".repeat(width.saturating_sub(cell.chars().count()));
            text.push_str(&if number { format!("  {pad}{cell}") } else { format!("  {cell}{pad}") });
        }
        text.trim_end().to_owned()
    };
    println!("{}", line(&header.iter().map(|cell| (*cell).to_owned()).collect::<Vec<_>>()));
    for row in rows {
        println!("{}", line(row));
    }
}
