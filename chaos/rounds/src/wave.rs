//! The calls of one round: sipp callers with ears, each for a time of its own.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::task::JoinSet;
use trunkline_loadtest::Failure;
use trunkline_loadtest::ear::{Ear, unix_ms};
use trunkline_loadtest::plan::OPEN;
use trunkline_loadtest::sipp::{self, Message, Scenarios, Sipp, Start};

use crate::scene::Scene;

/// The shortest stay of a caller, and by how much the longest is longer, in ms.
const STAY_MS_MIN: u64 = 13_000;
const STAY_MS_MORE: u64 = 15_000;

/// One call as its caller tells it.
#[derive(Debug, Clone)]
pub struct Call {
    /// What its Call-ID begins with.
    pub call_id_prefix: String,
    /// Which media node it went to, from 0.
    pub node: usize,
    /// Unix time at which it was placed, in ms.
    pub placed_at: i64,
    /// Unix time at which the caller had left, in ms.
    pub over_at: i64,
    /// sipp's exit code.
    pub code: i32,
    /// What it sent and received.
    pub messages: Vec<Message>,
    /// When it heard each packet, Unix time in ms.
    pub heard_at: Vec<i64>,
}

impl Call {
    /// The final status of the INVITE.
    pub fn final_status(&self) -> Option<u16> {
        let finals = self.messages.iter().filter(|it| it.method == "INVITE" && !it.sent);
        finals.filter_map(|it| it.status).find(|status| *status >= 200)
    }

    /// The longest time without a packet between the first and the last one heard, in ms, and when it began; of those that
    /// were not over at an instant.
    pub fn longest_gap(&self, since: i64) -> (i64, i64) {
        let gaps = self.heard_at.windows(2).filter(|pair| pair[1] >= since);
        gaps.map(|pair| (pair[1] - pair[0], pair[0])).max().unwrap_or((0, 0))
    }
}

/// Calls under way.
pub struct Wave {
    scenarios: Scenarios,
    dir: PathBuf,
    servers: Vec<String>,
    round: usize,
    seed: u64,
    placed_count: usize,
    up: Arc<AtomicUsize>,
    callers: JoinSet<Result<Call, Failure>>,
}

impl Wave {
    /// Nobody calls yet.
    pub fn new(scene: &Scene, round: usize, seed: u64) -> Self {
        Self {
            scenarios: scene.scenarios.clone(),
            dir: scene.dir.join(format!("round-{round:03}")),
            servers: scene.rig.sip(),
            round,
            seed,
            placed_count: 0,
            up: Arc::default(),
            callers: JoinSet::new(),
        }
    }

    /// Lets so many more call, one after the other.
    pub fn place(&mut self, count: usize, apart: Duration) {
        for nth in 0..count {
            let index = self.placed_count;
            self.placed_count += 1;
            let mixed = mix(self.seed ^ ((self.round as u64) << 32) ^ index as u64);
            let caller = Caller {
                scenarios: self.scenarios.clone(),
                dir: self.dir.join(format!("{index:02}")),
                node: index % self.servers.len(),
                server: self.servers[index % self.servers.len()].clone(),
                call_id_prefix: format!("r{:03}c{index:02}-", self.round),
                number: format!("+4917139200{index:02}"),
                dialled: OPEN[(mixed % OPEN.len() as u64) as usize].number,
                stay_ms: STAY_MS_MIN + (mixed >> 16) % STAY_MS_MORE,
                tone_hz: 400 + 50 * (index as u32 % 40),
                up: self.up.clone(),
            };
            let wait = apart * u32::try_from(nth).unwrap_or(0);
            self.callers.spawn(async move {
                tokio::time::sleep(wait).await;
                caller.call().await
            });
        }
    }

    /// How many callers hear something now.
    pub fn up_count(&self) -> usize {
        self.up.load(Ordering::Relaxed)
    }

    /// Waits until all have left; in the order in which they were placed.
    ///
    /// # Errors
    /// When a caller could not be started.
    pub async fn ended(mut self) -> Result<Vec<Call>, Failure> {
        let mut calls = Vec::new();
        while let Some(joined) = self.callers.join_next().await {
            calls.push(joined.map_err(Failure::new)??);
        }
        calls.sort_by(|one, other| one.call_id_prefix.cmp(&other.call_id_prefix));
        Ok(calls)
    }
}

struct Caller {
    scenarios: Scenarios,
    dir: PathBuf,
    node: usize,
    server: String,
    call_id_prefix: String,
    number: String,
    dialled: &'static str,
    stay_ms: u64,
    tone_hz: u32,
    up: Arc<AtomicUsize>,
}

impl Caller {
    async fn call(self) -> Result<Call, Failure> {
        let ear = Ear::open(self.tone_hz).await?;
        let placed_at = unix_ms();
        let args = [
            ("-s", self.dialled.to_owned()),
            ("-m", "1".to_owned()),
            ("-recv_timeout", self.stay_ms.to_string()),
            ("-cid_str", format!("{}%u@%s", self.call_id_prefix)),
        ];
        let keys = [("caller", self.number.clone()), ("audio_port", ear.port.to_string())];
        let args = args
            .into_iter()
            .flat_map(|(name, value)| [name.to_owned(), value])
            .chain(keys.into_iter().flat_map(|(name, value)| ["-key".to_owned(), name.to_owned(), value]))
            .collect();
        let server = Some(self.server.as_str());
        let start = Start { scenario: "caller", dir: self.dir.clone(), port: None, args, server };
        let mut sipp = Sipp::start(&self.scenarios, start)?;
        let heard = AtomicBool::new(false);
        let counted = async {
            loop {
                if ear.heard_count() > 0 {
                    heard.store(true, Ordering::Relaxed);
                    self.up.fetch_add(1, Ordering::Relaxed);
                    return std::future::pending::<()>().await;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let code = tokio::select! {
            code = sipp.ended(Duration::from_millis(self.stay_ms + 45_000)) => code?,
            () = counted => -3,
        };
        if heard.load(Ordering::Relaxed) {
            self.up.fetch_sub(1, Ordering::Relaxed);
        }
        let over_at = unix_ms();
        let timeline = std::fs::read(self.dir.join("timeline.txt")).unwrap_or_default();
        let messages = sipp::timeline(&String::from_utf8_lossy(&timeline));
        let heard_at = ear.close().packets.into_iter().map(|(at, ..)| at).collect();
        Ok(Call {
            call_id_prefix: self.call_id_prefix,
            node: self.node,
            placed_at,
            over_at,
            code,
            messages,
            heard_at,
        })
    }
}

/// SplitMix64's finish: the same everywhere.
pub(crate) fn mix(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
