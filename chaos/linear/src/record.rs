//! One history: clients ask a real group at once, while it is hit.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use futures::future::try_join_all;
use trunkline_loadtest::Failure;
use trunkline_proto::agent_state::v1 as api;
use trunkline_runtime::agent_state_client::AgentStateClient;
use trunkline_runtime::mint::Mint;

use crate::chance::Chance;
use crate::client::{Client, Manner, NODE, Names, QUEUE, Setting, TTL_MS};
use crate::faults::plan;
use crate::group::{Group, VOTER_COUNT};
use crate::history::Fate;
use crate::model::{AgentCall, Call, MISS_COUNT_MAX, Op};
use crate::workload::{Board, Width, Workload};

/// What holds the leases that offers need.
const ROUTING: (&str, &str) = ("routing/0", "nod_linear-routing");
const MEDIA: (&str, &str) = ("media/nod_linear-media", NODE);
/// How long preparations may take.
const PREPARED_WITHIN: Duration = Duration::from_secs(30);
/// How far away the end of offers is, in ms; the machine takes 600 s at most.
const OFFER_MS: i64 = 540_000;
/// How long wrap-up lasts unless it is finished, in ms: a year.
const WRAP_UP_MS: i64 = 365 * 24 * 3600 * 1000;

/// What a history is made of.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    /// Clients and keys.
    pub width: Width,
    /// How many operations: a read of all agents is one.
    pub operations: u64,
    /// What decides what is asked, who is hit and when. Who comes first is up to the machine.
    pub seed: u64,
}

/// A history with what it is about.
#[derive(Debug)]
pub struct Recorded {
    /// What clients did, in no order.
    pub history: Vec<Op>,
    /// How many operations that was, a read counted once.
    pub operations: u64,
    /// What was done to the voters meanwhile.
    pub faults: Vec<&'static str>,
    /// How long it took.
    pub lasted: Duration,
}

/// Records history `number`; no two on one group may have the same.
///
/// # Errors
/// When the group does not serve, or an answer makes no sense.
pub async fn record(group: &Group, number: u32, shape: Shape) -> Result<Recorded, Failure> {
    group.ready().await?;
    let patient = AgentStateClient::new(&group.addresses(), Mint::seeded(shape.seed ^ u64::from(number)))
        .with_time_max(PREPARED_WITHIN);
    let setting = prepare(&patient, number, shape.width).await?;
    let began = setting.began;
    let (begun, board) = (AtomicU64::new(0), Board::new(shape.width.agents));
    let seed = Chance::new(shape.seed, u64::from(number)).draw();
    let clients = (0..shape.width.clients).map(|client| {
        let workload = Workload::new(client, shape.width, seed);
        let client = Client::new(client, &group.addresses(), setting.clone(), seed);
        ask(client, workload, &begun, shape.operations, &board)
    });
    let mut chance = Chance::new(seed, 0);
    let faults = plan(number, &mut chance);
    let hits = async {
        for (share, fault) in faults {
            while begun.load(Ordering::Relaxed) < shape.operations * share / 100 {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            fault.strike(group, &mut chance).await?;
        }
        Ok(())
    };
    let (told, ()) = futures::future::try_join(try_join_all(clients), hits).await?;
    let lasted = began.elapsed();
    // Nobody else may have had these leases for an instant.
    for ((resource, holder), epoch) in [(ROUTING, setting.routing_epoch), (MEDIA, setting.media_epoch)] {
        let request = api::RenewLeaseRequest {
            command_id: String::new(),
            resource: resource.to_owned(),
            holder: holder.to_owned(),
            epoch,
            ttl_ms: TTL_MS,
        };
        let kept = patient.renew_lease(request).await;
        kept.map_err(|status| Failure::new(format!("the lease {resource} was lost: {}", status.message())))?;
    }
    let mut history: Vec<Op> = told.into_iter().flatten().collect();
    forget_ambiguous(&mut history);
    let faults = faults.map(|(_, fault)| fault.name()).to_vec();
    Ok(Recorded { history, operations: shape.operations, faults, lasted })
}

/// Makes the agents known, and takes the leases that offers need.
async fn prepare(patient: &AgentStateClient, number: u32, width: Width) -> Result<Setting, Failure> {
    let names = Names { history: number };
    let unprepared = |status: tonic::Status| Failure::new(format!("could not prepare: {}", status.message()));
    let roster = api::DefineRosterRequest {
        command_id: String::new(),
        directory_revision: u64::from(number) + 1,
        agents: (0..width.agents)
            .map(|agent| api::RosterAgent { agent_id: names.agent(agent), cell: 0, channels: Vec::new() })
            .collect(),
        queues: vec![api::RosterQueue {
            queue_id: QUEUE.to_owned(),
            wrap_up_ms: WRAP_UP_MS,
            miss_count_max: MISS_COUNT_MAX,
            ..Default::default()
        }],
        reasons: Vec::new(),
    };
    patient.define_roster(roster).await.map_err(unprepared)?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_err(Failure::new)?;
    let expires_at_ms = i64::try_from(now.as_millis()).unwrap_or(i64::MAX) + OFFER_MS;
    // Nobody is reserved who cannot be called; here everybody can, for as long as offers last.
    for agent in 0..width.agents {
        let device = api::RegisterDeviceRequest {
            command_id: String::new(),
            agent_id: names.agent(agent),
            device_id: format!("dev_{agent}"),
            contact_uri: "sip:nobody@127.0.0.1".to_owned(),
            node_id: NODE.to_owned(),
            expires_at_ms,
        };
        patient.register_device(device).await.map_err(unprepared)?;
    }
    let acquire = async |(resource, holder): (&str, &str)| {
        let request = api::AcquireLeaseRequest {
            command_id: String::new(),
            resource: resource.to_owned(),
            holder: holder.to_owned(),
            ttl_ms: TTL_MS,
            address: String::new(),
        };
        patient.acquire_lease(request).await.map(|granted| granted.epoch).map_err(unprepared)
    };
    let (routing_epoch, media_epoch) = (acquire(ROUTING).await?, acquire(MEDIA).await?);
    let agents = width.agents;
    Ok(Setting { names, agents, routing_epoch, media_epoch, expires_at_ms, began: Instant::now() })
}

/// One client, until all operations are begun.
async fn ask(
    client: Client,
    mut workload: Workload,
    begun: &AtomicU64,
    operations: u64,
    board: &Board,
) -> Result<Vec<Op>, Failure> {
    let mut told = Vec::new();
    while begun.fetch_add(1, Ordering::Relaxed) < operations {
        let (key, call) = workload.next(board);
        let name = workload.mark();
        let read = call == Call::Agent(AgentCall::Read);
        let chance = workload.chance();
        let anybody = chance.one_in(if read { 2 } else { 8 });
        let first = anybody.then(|| chance.below(VOTER_COUNT as u64) as usize);
        let manner = Manner { first, insists: chance.one_in(2) };
        for operation in client.perform(key, call, name, manner).await? {
            if let Fate::Ok { reply, .. } = &operation.fate {
                workload.heard(key, call, reply, board);
            }
            told.push(operation);
        }
    }
    Ok(told)
}

/// A wish that was asked for more than once may be answered with the token of another time.
fn forget_ambiguous(history: &mut [Op]) {
    let mut asked = std::collections::BTreeMap::new();
    for operation in history.iter() {
        if let Call::Agent(AgentCall::Reserve { offer }) = operation.call {
            *asked.entry(offer).or_insert(0) += 1;
        }
    }
    for operation in history {
        if let Call::Agent(AgentCall::Reserve { offer }) = operation.call
            && asked.get(&offer).is_some_and(|count| *count > 1)
        {
            operation.index = None;
        }
    }
}
