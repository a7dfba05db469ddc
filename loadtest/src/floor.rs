//! A floor of agents who are ready, on voters that have no other service beside them, and the requests that hold them.
//!
//! What routing, media and directory do in a cluster is done here with the same calls: the leases that a reservation stands
//! on are taken and kept, the roster is defined, every agent is signed in and ready.

use std::time::{Duration, Instant};

use futures::stream::{self, TryStreamExt};
use prost::Message as _;
use tonic::Status;
use trunkline_proto::agent_state::v1 as api;
use trunkline_proto::agent_state::v1::logged_command::Action as Logged;
use trunkline_runtime::agent_state_client::{AgentStateClient, undecided};
use trunkline_runtime::clock::Clock;
use trunkline_runtime::mint::Mint;

use crate::Failure;
use crate::ear::unix_ms;

/// The media node that holds every contact, and the owner of the routing cell.
const NODE: &str = "nod_floor";
const QUEUE: &str = "que_floor";
const COMPANY: &str = "cmp_floor";
/// The longest a lease may last, and how often it is renewed.
const LEASE_MS: i64 = 300_000;
const RENEW_EVERY: Duration = Duration::from_secs(60);
/// How long an offer may hold an agent: longer than any failover, so that what ends a reservation is its release.
const OFFER_MS: i64 = 120_000;
/// How long an agent can be called: longer than anything that is measured.
const CALLABLE_MS: i64 = 24 * 3600 * 1000;
/// How long agent-state may take to take a command.
const DECIDED_WITHIN: Duration = Duration::from_secs(60);
/// Agents that are made ready at the same time.
const AT_ONCE: usize = 16;

/// Agents, by number from 0.
#[derive(Clone)]
pub struct Floor {
    client: AgentStateClient,
    mint: Mint,
    routing_epoch: u64,
    media_epoch: u64,
}

/// One offer: to whom, and which.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// The agent's number.
    pub agent: usize,
    /// What stands in the ids of offer and contact.
    pub name: String,
}

impl Floor {
    /// Takes the leases, defines the roster and makes so many agents ready.
    ///
    /// # Errors
    /// When agent-state refuses.
    pub async fn open(voters: &[String], agent_count: usize) -> Result<Self, Failure> {
        let mint = Mint::system(Clock::system());
        let client = AgentStateClient::new(voters, mint.clone());
        let lease = |resource: String| api::AcquireLeaseRequest {
            command_id: mint.command().to_string(),
            resource,
            holder: NODE.to_owned(),
            ttl_ms: LEASE_MS,
            address: String::new(),
        };
        let routing = lease(routing_resource());
        let routing_epoch = decided(|| client.acquire_lease(routing.clone())).await?.epoch;
        let media = lease(media_resource());
        let media_epoch = decided(|| client.acquire_lease(media.clone())).await?.epoch;
        let agents = (0..agent_count).map(|agent| api::RosterAgent {
            agent_id: agent_id(agent),
            cell: 0,
            channels: Vec::new(),
        });
        let queue = api::RosterQueue { queue_id: QUEUE.to_owned(), ..Default::default() };
        let roster = api::DefineRosterRequest {
            command_id: mint.command().to_string(),
            // Above that of a directory without facts, which is all that these voters know of.
            directory_revision: 1,
            agents: agents.collect(),
            queues: vec![queue],
            reasons: Vec::new(),
        };
        decided(|| client.define_roster(roster.clone())).await?;
        let floor = Self { client, mint, routing_epoch, media_epoch };
        let agents = stream::iter((0..agent_count).map(Ok::<_, Failure>));
        agents.try_for_each_concurrent(AT_ONCE, |agent| floor.make_ready(agent)).await?;
        Ok(floor)
    }

    /// The client that everybody on the floor shares.
    pub fn client(&self) -> &AgentStateClient {
        &self.client
    }

    /// What asks for an agent, under a command id of its own.
    pub fn reserve(&self, offer: &Offer) -> api::ReserveAgentsRequest {
        let wish = api::ReservationWish {
            offer_id: format!("ofr_{}", offer.name),
            agent_id: agent_id(offer.agent),
            contact_id: format!("ctc_{}", offer.name),
            company_id: COMPANY.to_owned(),
            queue_id: QUEUE.to_owned(),
            node_id: NODE.to_owned(),
            expires_at_ms: unix_ms() + OFFER_MS,
            ring_many: false,
            channel: 0,
        };
        api::ReserveAgentsRequest {
            command_id: self.mint.command().to_string(),
            cell: 0,
            routing_epoch: self.routing_epoch,
            wishes: vec![wish],
        }
    }

    /// What gives the agent back, who is ready at once: the caller has gone.
    pub fn release(&self, offer: &Offer, token: u64) -> api::ReleaseReservationRequest {
        api::ReleaseReservationRequest {
            command_id: self.mint.command().to_string(),
            agent_id: agent_id(offer.agent),
            offer_id: format!("ofr_{}", offer.name),
            token,
            outcome: api::ReservationOutcome::CallerGone.into(),
            node_id: NODE.to_owned(),
            epoch: self.media_epoch,
        }
    }

    /// Keeps the leases; ends when one cannot be renewed, and says why.
    pub async fn keep(&self) -> Failure {
        loop {
            tokio::time::sleep(RENEW_EVERY).await;
            for (resource, epoch) in
                [(routing_resource(), self.routing_epoch), (media_resource(), self.media_epoch)]
            {
                let renewal = api::RenewLeaseRequest {
                    command_id: self.mint.command().to_string(),
                    resource,
                    holder: NODE.to_owned(),
                    epoch,
                    ttl_ms: LEASE_MS,
                };
                if let Err(failure) = decided(|| self.client.renew_lease(renewal.clone())).await {
                    return failure;
                }
            }
        }
    }

    async fn make_ready(&self, agent: usize) -> Result<(), Failure> {
        let session = api::SignInRequest {
            command_id: self.mint.command().to_string(),
            agent_id: agent_id(agent),
            session_id: self.mint.session().to_string(),
            ..Default::default()
        };
        decided(|| self.client.sign_in(session.clone())).await?;
        // Nobody is reserved who cannot be called. Here nobody calls.
        let device = api::RegisterDeviceRequest {
            command_id: self.mint.command().to_string(),
            agent_id: agent_id(agent),
            device_id: format!("dev_{agent}"),
            contact_uri: "sip:nobody@127.0.0.1".to_owned(),
            node_id: NODE.to_owned(),
            expires_at_ms: unix_ms() + CALLABLE_MS,
        };
        decided(|| self.client.register_device(device.clone())).await?;
        let ready = api::GoReadyRequest {
            command_id: self.mint.command().to_string(),
            agent_id: agent_id(agent),
            ..Default::default()
        };
        decided(|| self.client.go_ready(ready.clone())).await.map(drop)
    }
}

/// Sends one command, always the same, until somebody has decided about it.
///
/// # Errors
/// The refusal, or that nobody decided for a minute.
pub async fn decided<A, F>(attempt: impl Fn() -> F) -> Result<A, Failure>
where
    F: Future<Output = Result<A, Status>>,
{
    let until = Instant::now() + DECIDED_WITHIN;
    loop {
        match attempt().await {
            Ok(answer) => return Ok(answer),
            Err(status) if undecided(&status) && Instant::now() < until => {
                tokio::time::sleep(Duration::from_millis(25)).await;
            }
            Err(status) => return Err(Failure::new(format!("agent-state refused: {status}"))),
        }
    }
}

/// The token of the one wish of a request; `None` when it was refused.
pub fn token(answer: &api::ReserveAgentsResponse) -> Option<u64> {
    answer.answers.first().map(|it| it.token).filter(|token| *token > 0)
}

/// How many bytes a command has in the Raft log, as [`Logged`] makes it.
pub fn logged_bytes(action: Logged) -> usize {
    let proposed_at_ms = unix_ms();
    api::LoggedCommand { proposed_at_ms, traceparent: String::new(), action: Some(action) }.encoded_len()
}

/// The number of an agent of the floor, from its id.
pub fn agent_number(agent_id: &str) -> Option<usize> {
    agent_id.strip_prefix("agt_")?.parse().ok()
}

fn agent_id(agent: usize) -> String {
    format!("agt_{agent}")
}

fn routing_resource() -> String {
    "routing/0".to_owned()
}

fn media_resource() -> String {
    format!("media/{NODE}")
}
