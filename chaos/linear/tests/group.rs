//! Histories of a real group: three voters, each a process, killed, stopped and started again while eight clients ask.
#![allow(clippy::unwrap_used, reason = "tests may unwrap")]

use std::path::{Path, PathBuf};

use trunkline_linear::plant::Plant;
use trunkline_linear::record::Shape;
use trunkline_linear::suite::{Judgement, Suite, judge};
use trunkline_linear::workload::Width;

const HISTORIES: u32 = 10;
const OPERATIONS: u64 = 2_000;

/// The program under test. Cargo builds it for its own package only; a build of the workspace has put it beside ours.
fn program() -> PathBuf {
    let program = Path::new(env!("CARGO_BIN_EXE_trunkline-linear")).with_file_name("trunkline");
    assert!(program.is_file(), "there is no {}: cargo build -p trunkline", program.display());
    program
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_histories_under_faults_are_linearizable_and_what_is_planted_into_them_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let shape = Shape { width: Width::default(), operations: OPERATIONS, seed: 1 };
    let (dir, program) = (dir.path().to_owned(), program());
    let suite = Suite { histories: HISTORIES, shape, dir, program, plant: None };
    let (mut unknown, mut planted, mut lines) = (0, 0, Vec::new());
    let passed = suite.run(|told, judgement, history| {
        println!("{told}");
        if let Judgement::Failed(why) | Judgement::Unknown(why) = judgement {
            println!("{why}");
        }
        unknown += told["unknown"].as_u64().unwrap();
        lines.push(told.clone());
        for plant in Plant::ALL {
            let mut history = history.to_vec();
            if plant.put(&mut history).is_some() {
                planted += 1;
                assert!(matches!(judge(&history), Judgement::Failed(_)), "{plant} is not found: {told}");
            }
        }
    });
    let passed = passed.await.unwrap_or_else(|failure| panic!("{failure}"));
    assert_eq!(passed, HISTORIES, "see the lines above");
    // Otherwise the faults hit nobody, or the clients met with nothing.
    assert!(unknown > 0, "every operation was answered");
    assert!(planted >= 2 * HISTORIES, "only {planted} histories had room for what is planted");
    for line in lines {
        let (answers, refusals) = (line["answers"].as_u64().unwrap(), line["refusals"].as_u64().unwrap());
        assert!(answers > OPERATIONS * 8 / 10, "few answers: {line}");
        assert!(refusals > 100 && refusals < answers * 7 / 10, "one-sided: {line}");
    }
}
