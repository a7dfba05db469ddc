//! What can happen, by name, and how it is done to a running cluster.

use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rustix::process::Signal;
use trunkline_loadtest::Failure;
use trunkline_loadtest::rig::{Broker, Process, Rig, State};

/// How long what was killed stays dead: long enough for leases and elections to move on.
const DEAD: Duration = Duration::from_secs(4);
/// How long what was paused stands still.
const PAUSED: Duration = Duration::from_secs(10);

/// What a process is started with to see a clock an hour ahead.
const AN_HOUR_AHEAD: &str = "process.clock_offset_ms=3600000";
/// How long a clock stays wrong.
const WRONG: Duration = Duration::from_secs(8);

/// One kind of round.
pub struct Fault {
    /// Its name.
    pub name: &'static str,
    /// What happens, in words.
    pub what: &'static str,
    /// Whether `./dev test` runs it.
    pub short: bool,
    /// To whom.
    pub whom: Whom,
    /// What is done to them.
    pub deed: Deed,
}

/// Who is hit, found out when the time has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whom {
    /// Nobody: what the round itself costs.
    Nobody,
    /// The first media node.
    Media,
    /// The routing process that owns the cell.
    RoutingOwner,
    /// The one that stands by.
    RoutingStandby,
    /// The voter that leads.
    Leader,
    /// A voter that follows.
    Follower,
    /// The only process of a service.
    Only(&'static str),
    /// All that take no part in a call: directory, billing, reporting, gateway.
    BackOffice,
    /// The broker that leads the contacts log.
    BrokerLeader,
    /// Every broker.
    AllBrokers,
}

/// What is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deed {
    /// Nothing.
    Nothing,
    /// kill -9; started again after a while.
    Kill,
    /// SIGSTOP; SIGCONT after ten seconds.
    Pause,
    /// kill -9, its databases and snapshots deleted, started again.
    Forget,
    /// kill -9, started with a clock that is an hour ahead; later started again with the right one.
    WrongClock,
}

macro_rules! faults {
    ($($name:literal, $what:literal, $short:literal, $whom:expr, $deed:expr;)*) => {
        /// All of them, in the order of a whole run.
        pub const FAULTS: &[Fault] =
            &[$(Fault { name: $name, what: $what, short: $short, whom: $whom, deed: $deed }),*];
    };
}
faults!(
    "nothing", "nothing happens: what a round costs by itself", false, Whom::Nobody, Deed::Nothing;
    "kill-routing-owner", "kill -9 the owner of the cell; the standby takes over", true, Whom::RoutingOwner, Deed::Kill;
    "kill-routing-standby", "kill -9 the standby", false, Whom::RoutingStandby, Deed::Kill;
    "kill-agent-state-leader", "kill -9 the voter that leads", true, Whom::Leader, Deed::Kill;
    "kill-agent-state-follower", "kill -9 a voter that follows", false, Whom::Follower, Deed::Kill;
    "kill-media", "kill -9 a media node; its calls end as lost, the other node's go on", true, Whom::Media, Deed::Kill;
    "kill-directory", "kill -9 directory", false, Whom::Only("directory"), Deed::Kill;
    "kill-billing", "kill -9 billing", false, Whom::Only("billing"), Deed::Kill;
    "kill-reporting", "kill -9 reporting", false, Whom::Only("reporting"), Deed::Kill;
    "kill-gateway", "kill -9 the gateway", false, Whom::Only("gateway"), Deed::Kill;
    "kill-back-office", "kill -9 directory, billing, reporting and gateway at once", true, Whom::BackOffice, Deed::Kill;
    "kill-broker-leader", "kill -9 the broker that leads the contacts log", true, Whom::BrokerLeader, Deed::Kill;
    "kill-all-brokers", "kill -9 every broker: the log is away", false, Whom::AllBrokers, Deed::Kill;
    "pause-routing-owner", "SIGSTOP the owner of the cell for 10 s; woken, it has no effect", true, Whom::RoutingOwner, Deed::Pause;
    "pause-routing-standby", "SIGSTOP the standby for 10 s", false, Whom::RoutingStandby, Deed::Pause;
    "pause-agent-state-leader", "SIGSTOP the voter that leads for 10 s", false, Whom::Leader, Deed::Pause;
    "pause-agent-state-follower", "SIGSTOP a voter that follows for 10 s", false, Whom::Follower, Deed::Pause;
    "pause-media", "SIGSTOP a media node for 10 s: its lease lapses, its calls end as lost", false, Whom::Media, Deed::Pause;
    "pause-back-office", "SIGSTOP directory, billing, reporting and gateway for 10 s", false, Whom::BackOffice, Deed::Pause;
    "pause-broker-leader", "SIGSTOP the broker that leads the contacts log for 10 s", false, Whom::BrokerLeader, Deed::Pause;
    "pause-all-brokers", "SIGSTOP every broker for 10 s: the log stands still", true, Whom::AllBrokers, Deed::Pause;
    "clock-media", "a media node begins again with a clock an hour ahead: it takes no calls and says why", false, Whom::Media, Deed::WrongClock;
    "clock-agent-state-leader", "the voter that leads begins again with a clock an hour ahead: it does not lead", true, Whom::Leader, Deed::WrongClock;
    "forget-reporting", "reporting loses its databases", false, Whom::Only("reporting"), Deed::Forget;
    "forget-agent-state-follower", "a voter loses its databases and snapshots", true, Whom::Follower, Deed::Forget;
);

/// Who was hit.
pub enum Victim<'a> {
    /// A process of ours.
    Process(&'a Process),
    /// A broker.
    Broker(&'a Broker),
}

impl Victim<'_> {
    /// Its name within the rig.
    pub fn name(&self) -> &str {
        match self {
            Self::Process(process) => &process.name,
            Self::Broker(broker) => &broker.name,
        }
    }

    async fn signal(&self, signal: Signal) -> Result<(), Failure> {
        match self {
            Self::Process(process) if signal == Signal::KILL => process.kill().await,
            Self::Process(process) => process.signal(signal),
            Self::Broker(broker) => broker.signal(signal).await,
        }
    }
}

impl Whom {
    /// Finds them.
    ///
    /// # Errors
    /// When nobody is, for longer than an election may take.
    pub async fn find<'a>(self, rig: &'a Rig) -> Result<Vec<Victim<'a>>, Failure> {
        let one = |name: &str| rig.process(name).map(|process| vec![Victim::Process(process)]);
        Ok(match self {
            Self::Nobody => Vec::new(),
            Self::Media => one("media-1")?,
            Self::Only(service) => one(service)?,
            Self::BackOffice => {
                let names = ["directory", "billing", "reporting", "gateway"];
                names
                    .into_iter()
                    .map(|name| rig.process(name).map(Victim::Process))
                    .collect::<Result<_, _>>()?
            }
            Self::AllBrokers => rig.brokers.brokers.iter().map(Victim::Broker).collect(),
            Self::BrokerLeader => vec![Victim::Broker(broker_leader(rig)?)],
            Self::RoutingOwner => {
                vec![Victim::Process(found(|| rig.routing_owner(), "an owner of routing").await?)]
            }
            Self::RoutingStandby => {
                let owner = found(|| rig.routing_owner(), "an owner of routing").await?;
                other(rig, "routing", owner)?
            }
            Self::Leader => vec![Victim::Process(found(|| rig.leader(), "a leader of agent-state").await?)],
            Self::Follower => {
                let leader = found(|| rig.leader(), "a leader of agent-state").await?;
                other(rig, "agent-state", leader)?
            }
        })
    }
}

fn other<'a>(rig: &'a Rig, service: &'a str, than: &Process) -> Result<Vec<Victim<'a>>, Failure> {
    let other = rig.of(service).find(|process| process.name != than.name);
    let other = other.ok_or_else(|| Failure::new(format!("there is one {service} only")))?;
    Ok(vec![Victim::Process(other)])
}

async fn found<'a, F>(look: impl Fn() -> F, what: &str) -> Result<&'a Process, Failure>
where
    F: Future<Output = Option<&'a Process>>,
{
    for _ in 0..100 {
        if let Some(process) = look().await {
            return Ok(process);
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Err(Failure::new(format!("found no {what} within 10 s")))
}

/// The broker that leads partition 0 of the contacts log, as the brokers say.
fn broker_leader(rig: &Rig) -> Result<&Broker, Failure> {
    let failed = |what: String| Failure::new(format!("could not ask the brokers who leads: {what}"));
    let client: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", rig.brokers.addresses())
        .create()
        .map_err(|error| failed(error.to_string()))?;
    let there = client
        .fetch_metadata(Some("trunkline.contacts"), Duration::from_secs(10))
        .map_err(|error| failed(error.to_string()))?;
    let leader = there.topics().first().and_then(|topic| topic.partitions().first()).map(|it| it.leader());
    let name = format!("kafka-{}", leader.unwrap_or(-1));
    rig.brokers.broker(&name)
}

impl Deed {
    /// Does it to them.
    ///
    /// # Errors
    /// When one of them does not run.
    pub async fn inflict(self, rig: &Rig, victims: &[Victim<'_>]) -> Result<(), Failure> {
        let signal = match self {
            Self::Nothing => return Ok(()),
            Self::Kill | Self::Forget | Self::WrongClock => Signal::KILL,
            Self::Pause => Signal::STOP,
        };
        for victim in victims {
            victim.signal(signal).await?;
            if let (Self::WrongClock, Victim::Process(process)) = (self, victim) {
                process.start_with(&[AN_HOUR_AHEAD], &rig.program)?;
            }
        }
        Ok(())
    }

    /// What the victims should say of themselves while it lasts, and do not.
    pub async fn unnoticed(self, victims: &[Victim<'_>]) -> Vec<String> {
        let mut silent = Vec::new();
        for victim in victims {
            if let (Self::WrongClock, Victim::Process(process)) = (self, victim) {
                let state = process.state().await;
                let told = matches!(&state, State::NotReady { reasons }
                    if reasons.iter().any(|(_, words)| words.contains("ahead of")));
                if !told {
                    silent.push(format!("{} does not say that its clock is wrong: {state}", process.name));
                }
            }
        }
        silent
    }

    /// How long it lasts.
    pub fn lasts(self) -> Duration {
        match self {
            Self::Nothing => Duration::from_secs(1),
            Self::Kill | Self::Forget => DEAD,
            Self::WrongClock => WRONG,
            Self::Pause => PAUSED,
        }
    }

    /// Makes it good again.
    ///
    /// # Errors
    /// When something does not come back.
    pub async fn heal(self, rig: &Rig, victims: &[Victim<'_>]) -> Result<(), Failure> {
        match self {
            Self::Nothing => {}
            Self::Pause => {
                for victim in victims {
                    victim.signal(Signal::CONT).await?;
                }
            }
            Self::Forget => {
                for victim in victims {
                    if let Victim::Process(process) = victim {
                        forget(process)?;
                    }
                }
                rig.up().await?;
            }
            Self::WrongClock => {
                for victim in victims {
                    victim.signal(Signal::KILL).await?;
                }
                rig.up().await?;
            }
            Self::Kill => rig.up().await?,
        }
        Ok(())
    }
}

/// Deletes what can be built again: the databases and snapshots of a process, never its log or its identity.
fn forget(process: &Process) -> Result<(), Failure> {
    let places: &[&str] = match process.service.as_str() {
        "reporting" => &["reporting"],
        "agent-state" => &["agent-state/state", "agent-state/snapshots"],
        other => return Err(Failure::new(format!("{other} keeps nothing that can be built again"))),
    };
    for place in places {
        let path = process.data.join(place);
        if path.is_dir() {
            std::fs::remove_dir_all(&path)?;
        } else {
            return Err(Failure::new(format!("there is no {} to forget", path.display())));
        }
    }
    Ok(())
}
