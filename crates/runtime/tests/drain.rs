//! Draining loses nothing, ends in time, and says what it cut off.
#![allow(clippy::unwrap_used, reason = "tests may unwrap")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{Notify, mpsc};
use trunkline_runtime::shutdown::{Drain, Shutdown};

/// Long enough for any machine; reached only when a test fails.
const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn a_drain_waits_for_what_was_taken_in_and_loses_nothing() {
    let shutdown = Shutdown::new();
    let (sender, mut receiver) = mpsc::channel::<u32>(1_000);
    let done = Arc::new(AtomicUsize::new(0));
    let (stop, counter) = (shutdown.clone(), Arc::clone(&done));
    shutdown.spawn("worker", async move {
        stop.begun().await;
        receiver.close();
        while receiver.recv().await.is_some() {
            tokio::task::yield_now().await;
            counter.fetch_add(1, Ordering::SeqCst);
        }
    });
    for item in 0..1_000 {
        sender.send(item).await.unwrap();
    }
    assert!(!shutdown.is_begun());
    assert_eq!(shutdown.drained(PATIENCE).await, Vec::<&str>::new());
    assert!(shutdown.is_begun());
    assert_eq!(done.load(Ordering::SeqCst), 1_000);
}

#[tokio::test]
async fn a_task_that_does_not_end_is_cut_off_at_the_deadline_and_named() {
    let shutdown = Shutdown::new();
    let alive = Arc::new(());
    for name in ["stuck", "also stuck"] {
        let alive = Arc::clone(&alive);
        shutdown.spawn(name, async move {
            std::future::pending::<()>().await;
            drop(alive);
        });
    }
    let stop = shutdown.clone();
    shutdown.spawn("polite", async move { stop.begun().await });
    let cut = tokio::time::timeout(PATIENCE, shutdown.drained(Duration::from_millis(50))).await.unwrap();
    assert_eq!(cut, vec!["also stuck", "stuck"]);
    // Cut off means dropped, not merely forgotten.
    assert_eq!(shutdown.drained(PATIENCE).await, Vec::<&str>::new());
    assert_eq!(Arc::strong_count(&alive), 1);
}

#[tokio::test]
async fn stages_end_one_after_the_other() {
    let mut drain = Drain::new();
    let (edge, log) = (drain.stage("edge"), drain.stage("log"));
    let order = Arc::new(std::sync::Mutex::new(Vec::new()));
    for (stage, name) in [(&edge, "edge"), (&log, "log")] {
        let (stop, order) = (stage.clone(), Arc::clone(&order));
        stage.spawn(name, async move {
            stop.begun().await;
            for _ in 0..10 {
                tokio::task::yield_now().await;
            }
            order.lock().unwrap().push(name);
        });
    }
    assert_eq!(drain.run(PATIENCE).await, Vec::<String>::new());
    assert_eq!(*order.lock().unwrap(), vec!["edge", "log"]);
}

#[tokio::test]
async fn a_stage_that_uses_the_time_up_leaves_some_to_those_behind_it() {
    let mut drain = Drain::new();
    let (edge, log) = (drain.stage("edge"), drain.stage("log"));
    edge.spawn("calls", std::future::pending());
    let flushed = Arc::new(Notify::new());
    let (stop, told) = (log.clone(), Arc::clone(&flushed));
    log.spawn("flush", async move {
        stop.begun().await;
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        told.notify_one();
    });
    assert_eq!(drain.run(Duration::from_secs(3)).await, vec!["edge/calls".to_owned()]);
    flushed.notified().await;
}

#[tokio::test]
async fn a_task_that_panics_begins_the_shutdown_of_its_group() {
    let mut drain = Drain::new();
    let stage = drain.stage("owners");
    let stop = stage.clone();
    stage.spawn("innocent", async move { stop.begun().await });
    stage.spawn("guilty", async { panic!("a planted bug") });
    drain.any_begun().await;
    assert_eq!(stage.drained(PATIENCE).await, Vec::<&str>::new());
    assert_eq!(stage.panicked(), vec!["guilty"]);
}
