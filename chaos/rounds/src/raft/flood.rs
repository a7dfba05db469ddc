//! More than the voters can take, for long: twice the rate they reach by themselves, while snapshots are made and the log is
//! purged all the time.
//!
//! What must hold is what holds of every round, and that no voter stops. Whatever is too much is refused, and asked again.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use trunkline_loadtest::Failure;
use trunkline_loadtest::floor::{Offer, decided};

use super::load::{FLOODED_COUNT, Load, first_flooded};
use super::stage::Stage;

/// Entries between two snapshots, and entries kept behind one: an entry holds some hundred commands under such a load.
pub const SETTINGS: &[&str] = &["agent_state.snapshot_every=50", "agent_state.log_keep=10"];
/// How long the rate is measured that the voters reach, and by how many clients at once.
const MEASURED_FOR: Duration = Duration::from_secs(10);
const MEASURED_BY: usize = 128;
/// So much more is asked for then.
const TIMES_THE_PEAK: u64 = 2;
/// Reservations under way at once, at most: what is beyond was offered to nobody, and is counted.
const UNDER_WAY_MAX: usize = 8_192;
/// How often the next ones are begun.
const BEGUN_EVERY: Duration = Duration::from_millis(5);
/// The number of these clients, which is that of no other.
const CLIENT: usize = 1_000;

/// Measures the rate that the voters reach, and asks for twice as much.
///
/// # Errors
/// When a command stays undecided.
pub async fn flood(stage: &mut Stage) -> Result<(u64, &'static str), Failure> {
    let next = Arc::new(AtomicU64::new(0));
    let peak = peak(&stage.load, &next).await?;
    let (wanted, at) = (peak * TIMES_THE_PEAK, stage.load.now());
    eprintln!("chaos: the voters decide {peak} reservations/s; {wanted}/s are asked for from now on");
    let (places, until) = (Arc::new(Semaphore::new(UNDER_WAY_MAX)), Instant::now() + stage.span_max);
    let (mut tasks, mut due, mut skipped) = (JoinSet::<Result<(), Failure>>::new(), 0.0_f64, 0_u64);
    let mut clock = tokio::time::interval(BEGUN_EVERY);
    while Instant::now() < until {
        clock.tick().await;
        due += wanted as f64 * BEGUN_EVERY.as_secs_f64();
        while due >= 1.0 {
            due -= 1.0;
            let Ok(place) = places.clone().try_acquire_owned() else {
                skipped += 1;
                continue;
            };
            let (load, nth) = (stage.load.clone(), next.fetch_add(1, Ordering::Relaxed));
            tasks.spawn(async move {
                let asked = ask(&load, nth).await;
                drop(place);
                asked
            });
        }
        while let Some(joined) = tasks.try_join_next() {
            joined.map_err(Failure::new)??;
        }
    }
    while let Some(joined) = tasks.join_next().await {
        joined.map_err(Failure::new)??;
    }
    let over = stage.load.now();
    stage.recovered().await?;
    stage.notes.push(json!({
        "peak_per_s": peak, "wanted_per_s": wanted, "seconds": (over - at) / 1_000_000,
        "asked": next.load(Ordering::Relaxed), "not_begun": skipped,
    }));
    // What is measured is how soon a new reservation succeeds once it is over.
    Ok((over, "flood"))
}

/// Reservations that are decided in a second, with so many clients that ask again at once.
async fn peak(load: &Arc<Load>, next: &Arc<AtomicU64>) -> Result<u64, Failure> {
    let over = Arc::new(AtomicBool::new(false));
    let (mut clients, before) = (JoinSet::<Result<(), Failure>>::new(), next.load(Ordering::Relaxed));
    for _ in 0..MEASURED_BY {
        let (load, next, over) = (load.clone(), next.clone(), over.clone());
        clients.spawn(async move {
            while !over.load(Ordering::Relaxed) {
                ask(&load, next.fetch_add(1, Ordering::Relaxed)).await?;
            }
            Ok(())
        });
    }
    let began = Instant::now();
    tokio::time::sleep(MEASURED_FOR).await;
    over.store(true, Ordering::Relaxed);
    let asked = next.load(Ordering::Relaxed) - before;
    let per_s = asked as f64 / began.elapsed().as_secs_f64();
    while let Some(joined) = clients.join_next().await {
        joined.map_err(Failure::new)??;
    }
    Ok((per_s as u64).max(1))
}

/// One reservation, which is released at once if it is granted.
async fn ask(load: &Load, nth: u64) -> Result<(), Failure> {
    let agent = first_flooded() + nth as usize % FLOODED_COUNT;
    let offer = Offer { agent, name: format!("{CLIENT}-{nth}") };
    let (request, asked_at) = (load.floor().reserve(&offer), load.now());
    let client = load.floor().client();
    let answer = decided(|| client.reserve_agents(request.clone())).await?;
    load.deal(offer, asked_at, &answer, 0).await.map(drop)
}
