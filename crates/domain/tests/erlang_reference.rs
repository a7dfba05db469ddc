//! Erlang B, C, A and staffing against reference values of twelve digits, from `TRUNKLINE_DATA/erlang-reference`.
//!
//! Without the data the test says so and checks nothing; with `CI=true` it fails.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::disallowed_macros,
    reason = "a test finds its data"
)]

use std::path::PathBuf;

use trunkline_domain::reporting::{Impatient, Patient, agents_needed, blocking};

/// The rows of a table as numbers, without its head. `None` when the data is not there.
fn rows(name: &str) -> Option<Vec<Vec<f64>>> {
    let root = std::env::var("TRUNKLINE_DATA").unwrap_or_else(|_| {
        let workspace = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..");
        workspace.join("../shared/data").to_string_lossy().into_owned()
    });
    let path = PathBuf::from(root).join("erlang-reference").join(name);
    let Ok(text) = std::fs::read_to_string(&path) else {
        let ci = std::env::var("CI").is_ok_and(|it| it == "true");
        assert!(!ci, "no reference data: {} is not there", path.display());
        eprintln!("NOT CHECKED: {} is not there; set TRUNKLINE_DATA", path.display());
        return None;
    };
    let rows: Vec<Vec<f64>> =
        text.lines().skip(1).map(|row| row.split(',').map(|it| it.parse().unwrap()).collect()).collect();
    assert!(rows.len() > 10, "{name} holds {} rows", rows.len());
    Some(rows)
}

/// Equal to ten digits, or both below what a floating-point number near 1 can tell apart.
#[track_caller]
fn same(got: f64, expected: f64, what: &str, row: &[f64]) {
    let close = (got - expected).abs() <= 1e-10 * expected.abs() + 1e-15;
    assert!(close, "{what}: got {got}, expected {expected} in {row:?}");
}

fn count(number: f64) -> u32 {
    assert!(number.fract() == 0.0 && (0.0..1e9).contains(&number));
    number as u32
}

#[test]
fn erlang_b_agrees() {
    for row in rows("erlang_b.csv").unwrap_or_default() {
        same(blocking(row[1], count(row[0])), row[2], "blocking", &row);
    }
}

#[test]
fn erlang_c_agrees() {
    for row in rows("erlang_c.csv").unwrap_or_default() {
        let (calls, handle_secs, agents, threshold) = (row[0], row[1], count(row[2]), row[3]);
        let it = Patient::new(calls * handle_secs / 1800.0, agents, handle_secs);
        same(it.occupancy(), row[5], "occupancy", &row);
        same(it.wait_probability, row[6], "chance of waiting", &row);
        same(it.service_level(threshold), row[7], "service level", &row);
        same(it.mean_wait_secs().unwrap(), row[8], "mean wait", &row);
    }
}

#[test]
fn erlang_a_agrees() {
    for row in rows("erlang_a.csv").unwrap_or_default() {
        let it = Impatient::new(row[0] / 1800.0, row[1], row[2], count(row[3]));
        same(it.wait_probability, row[5], "chance of waiting", &row);
        same(it.abandon_probability, row[6], "chance of giving up", &row);
        same(it.mean_wait_secs, row[7], "mean wait", &row);
        same(it.mean_queue, row[8], "queue", &row);
        same(it.occupancy, row[9], "occupancy", &row);
    }
}

#[test]
fn the_number_of_agents_agrees() {
    for row in rows("staffing_c.csv").unwrap_or_default() {
        let (load, handle_secs, target, threshold) = (row[0] * row[1] / 1800.0, row[1], row[2], row[3]);
        let agents = agents_needed(load, handle_secs, target, threshold).unwrap();
        assert_eq!(agents, count(row[4]), "{row:?}");
        same(Patient::new(load, agents, handle_secs).service_level(threshold), row[5], "service level", &row);
        let fewer = Patient::new(load, agents - 1, handle_secs).service_level(threshold);
        same(fewer, row[6], "service level with one less", &row);
    }
}
