//! Who reserves agents while voters die, and what each was told.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use trunkline_loadtest::Failure;
use trunkline_loadtest::floor::{Floor, Offer, decided, token};
use trunkline_proto::agent_state::v1 as api;
use trunkline_runtime::agent_state_client::undecided;

use crate::wave::mix;

/// Clients that reserve and release all the time.
pub const CLIENT_COUNT: usize = 16;
/// The agents they reserve. Few enough that two often want the same one, so that a double reservation has its chance.
const WANTED_COUNT: usize = 24;
/// Agents of the probes, one each, in turns: more than there are attempts in the longest failover that is waited for.
const PROBED_COUNT: usize = 128;
/// All agents of the floor, where nothing floods it.
pub const AGENT_COUNT: usize = WANTED_COUNT + PROBED_COUNT;
/// Agents of a flood, beside these.
pub const FLOODED_COUNT: usize = 1_024;
/// The longest an agent is held, and the longest a client waits after a refusal, in µs.
const PAUSE_US: u64 = 20_000;
/// The only refusal there may be.
const TAKEN: &str = "ALREADY_RESERVED";
/// How long one attempt of a probe may take. What it asked for is found out later; the next attempt is another reservation.
const PROBE_TIME_MAX: Duration = Duration::from_secs(1);
/// After this a failover counts as one that never ends.
pub const RECOVERED_WITHIN: Duration = Duration::from_secs(60);

/// One offer as its client saw it. Times are in µs since the load began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deal {
    /// Which, see [`offer_number`].
    pub offer: u64,
    /// Of which agent.
    pub agent: usize,
    /// When it was asked for: before the first attempt.
    pub asked_at: u64,
    /// When the answer was there.
    pub answered_at: u64,
    /// The answer: a token and what became of it, or a refusal.
    pub granted: Option<Granted>,
}

/// A reservation that was acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Granted {
    /// Its fence.
    pub token: u64,
    /// When its release was asked for: until then the client held the agent.
    pub released_at: u64,
    /// Whether the release ended it, as it was answered; else it had ended before.
    pub released: bool,
}

/// Clients under way, and their journal.
pub struct Load {
    floor: Floor,
    began: Instant,
    over: AtomicBool,
    probe_count: AtomicU32,
    deals: Mutex<Vec<Deal>>,
    /// Clients, and whoever finds out what became of a probe.
    tasks: Mutex<JoinSet<Result<(), Failure>>>,
}

impl Load {
    /// Lets the clients begin.
    pub fn start(floor: Floor, seed: u64) -> Arc<Self> {
        let load = Arc::new(Self {
            floor,
            began: Instant::now(),
            over: AtomicBool::new(false),
            probe_count: AtomicU32::new(0),
            deals: Mutex::default(),
            tasks: Mutex::default(),
        });
        for client in 1..=CLIENT_COUNT {
            let chance = Chance(mix(seed ^ client as u64));
            load.tasks().spawn(load.clone().client(client, chance));
        }
        load
    }

    /// What the clients stand on.
    pub fn floor(&self) -> &Floor {
        &self.floor
    }

    /// µs since the load began.
    pub fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    /// Reserves agents until it is granted one, each time with a new command; gives when that was, or `None` when it took
    /// too long.
    ///
    /// # Errors
    /// When something else than a change of leader is in the way.
    pub async fn probe(self: &Arc<Self>) -> Result<Option<u64>, Failure> {
        let until = Instant::now() + RECOVERED_WITHIN;
        let client = self.floor.client().with_time_max(PROBE_TIME_MAX);
        while Instant::now() < until {
            let nth = self.probe_count.fetch_add(1, Ordering::Relaxed) as usize;
            // Client 0, which is none of the others.
            let offer = Offer { agent: WANTED_COUNT + nth % PROBED_COUNT, name: format!("0-{nth}") };
            let (request, asked_at) = (self.floor.reserve(&offer), self.now());
            match client.reserve_agents(request.clone()).await {
                Ok(answer) => {
                    let answered_at = self.now();
                    let load = self.clone();
                    self.tasks().spawn(async move { load.deal(offer, asked_at, &answer, 0).await.map(drop) });
                    return Ok(Some(answered_at));
                }
                Err(status) if undecided(&status) => {
                    let load = self.clone();
                    self.tasks().spawn(async move {
                        let client = load.floor.client();
                        let answer = decided(|| client.reserve_agents(request.clone())).await?;
                        load.deal(offer, asked_at, &answer, 0).await.map(drop)
                    });
                }
                Err(status) => return Err(Failure::new(format!("a probe was refused: {status}"))),
            }
        }
        Ok(None)
    }

    /// Lets everybody finish what they began; gives the journal, and what went wrong for whom.
    pub async fn end(&self) -> (Vec<Deal>, Vec<String>) {
        self.over.store(true, Ordering::Relaxed);
        let mut tasks = std::mem::take(&mut *self.tasks());
        let mut failed = Vec::new();
        while let Some(joined) = tasks.join_next().await {
            match joined.map_err(Failure::new) {
                Ok(Ok(())) => {}
                Ok(Err(failure)) | Err(failure) => failed.push(failure.to_string()),
            }
        }
        (std::mem::take(&mut *self.deals()), failed)
    }

    async fn client(self: Arc<Self>, client: usize, mut chance: Chance) -> Result<(), Failure> {
        for nth in 1_u64.. {
            if self.over.load(Ordering::Relaxed) {
                break;
            }
            let offer =
                Offer { agent: chance.below(WANTED_COUNT as u64) as usize, name: format!("{client}-{nth}") };
            let (request, asked_at) = (self.floor.reserve(&offer), self.now());
            let answer = decided(|| self.floor.client().reserve_agents(request.clone())).await?;
            let pause_us = chance.below(PAUSE_US);
            if !self.deal(offer, asked_at, &answer, pause_us).await? {
                tokio::time::sleep(Duration::from_micros(pause_us)).await;
            }
        }
        Ok(())
    }

    /// What follows an answer: an agent that was granted is held for a while and released. Gives whether it was.
    pub async fn deal(
        &self,
        offer: Offer,
        asked_at: u64,
        answer: &api::ReserveAgentsResponse,
        hold_us: u64,
    ) -> Result<bool, Failure> {
        let answered_at = self.now();
        let granted = match token(answer) {
            Some(token) => {
                tokio::time::sleep(Duration::from_micros(hold_us)).await;
                let (release, released_at) = (self.floor.release(&offer, token), self.now());
                let client = self.floor.client();
                let released = decided(|| client.release_reservation(release.clone())).await?.released;
                Some(Granted { token, released_at, released })
            }
            None => {
                if let Some(other) = answer.answers.iter().find(|it| it.refusal != TAKEN) {
                    return Err(Failure::new(format!("{} was refused: {}", offer.name, other.refusal)));
                }
                None
            }
        };
        let number = offer_number(&format!("ofr_{}", offer.name));
        let number = number.ok_or_else(|| Failure::new(format!("{} is no offer", offer.name)))?;
        self.deals().push(Deal { offer: number, agent: offer.agent, asked_at, answered_at, granted });
        Ok(granted.is_some())
    }

    fn deals(&self) -> MutexGuard<'_, Vec<Deal>> {
        self.deals.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tasks(&self) -> MutexGuard<'_, JoinSet<Result<(), Failure>>> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The number of the first agent of a flood.
pub const fn first_flooded() -> usize {
    AGENT_COUNT
}

/// The number of an offer `ofr_<client>-<nth>`.
pub fn offer_number(offer_id: &str) -> Option<u64> {
    let (client, nth) = offer_id.strip_prefix("ofr_")?.split_once('-')?;
    Some(client.parse::<u64>().ok()? << 40 | nth.parse::<u64>().ok()?)
}

/// The id of an offer, from its number.
pub fn offer_id(number: u64) -> String {
    format!("ofr_{}-{}", number >> 40, number & ((1 << 40) - 1))
}

/// Numbers that are a function of a seed.
pub struct Chance(pub u64);

impl Chance {
    /// The next one, from 0 to `bound`, without it.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0) % bound.max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offers_number_is_read_back_from_its_id() {
        for offer in ["ofr_0-0", "ofr_16-4711", "ofr_3-1000000000"] {
            assert_eq!(offer_number(offer).map(offer_id).as_deref(), Some(offer));
        }
        for other in ["ofr_x-1", "ofr_17", "agt_1-2"] {
            assert_eq!(offer_number(other), None, "{other}");
        }
    }
}
