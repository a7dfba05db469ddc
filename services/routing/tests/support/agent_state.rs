//! An agent-state that knows leases of routing and reservations.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};

use tonic::{Request, Response, Status};
use trunkline_domain::facts::*;
use trunkline_domain::vocabulary::*;
use trunkline_proto::agent_state::v1 as api;
use trunkline_proto::agent_state::v1::agent_state_service_server::AgentStateService;
use trunkline_proto::media::v1 as media;
use trunkline_runtime::clock::Clock;
use trunkline_runtime::grpc::{self, RejectionKind};
use trunkline_runtime::lease::{LEASE_HELD, tell_holder};

use super::{Told, agent, node};

/// An agent-state that knows leases of routing and reservations.
#[derive(Clone)]
pub struct Fake(Arc<Mutex<State>>);

pub struct State {
    agents: Told<AgentFact>,
    clock: Clock,
    /// Epochs and tokens are made of it.
    pub index: u64,
    /// Who owns `routing/0`, and since which index.
    pub owner: Option<(String, u64)>,
    /// When that lapses.
    expires_at: Timestamp,
    /// Whoever wants the lease is told that there is no room for the question.
    pub busy: bool,
    /// Whoever asks gets the lease, and the one before is told nothing.
    pub careless: bool,
    /// Nobody gets the lease, and whoever has it loses it at the next renewal.
    pub withheld: bool,
    ready: BTreeSet<String>,
    /// Agent → offer, contact, token.
    pub held: BTreeMap<String, (String, String, u64)>,
    /// Epoch and offer of every wish granted.
    pub granted: Vec<(u64, String)>,
    /// Epochs whose turns were refused as a whole.
    pub refused: Vec<u64>,
    /// Offers rescinded.
    pub rescinded: Vec<String>,
    answers: BTreeMap<String, api::ReserveAgentsResponse>,
    /// How each of the next commands about reservations is answered, its effect aside.
    pub unheard: Vec<Status>,
}

impl State {
    fn new(agents: Told<AgentFact>, clock: Clock) -> Self {
        Self {
            agents,
            clock,
            index: 10,
            owner: None,
            expires_at: Timestamp(i64::MIN),
            busy: false,
            careless: false,
            withheld: false,
            ready: BTreeSet::new(),
            held: BTreeMap::new(),
            granted: Vec::new(),
            refused: Vec::new(),
            rescinded: Vec::new(),
            answers: BTreeMap::new(),
            unheard: Vec::new(),
        }
    }

    fn wish(
        &mut self,
        epoch: u64,
        wish: &api::ReservationWish,
        facts: &mut Vec<AgentFact>,
    ) -> api::ReservationAnswer {
        self.index += 1;
        let refusal = if self.held.contains_key(&wish.agent_id) {
            "ALREADY_RESERVED"
        } else if !self.ready.contains(&wish.agent_id) {
            "NOT_READY"
        } else {
            let held = (wish.offer_id.clone(), wish.contact_id.clone(), self.index);
            self.held.insert(wish.agent_id.clone(), held);
            self.granted.push((epoch, wish.offer_id.clone()));
            facts.push(AgentFact::AgentReserved {
                agent_id: wish.agent_id.parse().unwrap(),
                offer_id: wish.offer_id.parse().unwrap(),
                contact_id: wish.contact_id.parse().unwrap(),
                company_id: wish.company_id.parse().unwrap(),
                queue_id: wish.queue_id.parse().unwrap(),
                token: self.index,
                node_id: wish.node_id.parse().unwrap(),
                routing_epoch: Epoch(epoch),
                expires_at: Timestamp(wish.expires_at_ms),
                channel: Channel::Voice,
            });
            ""
        };
        let token = if refusal.is_empty() { self.index } else { 0 };
        api::ReservationAnswer { offer_id: wish.offer_id.clone(), token, refusal: refusal.to_owned() }
    }

    fn release(&mut self, agent: &str, offer: &str, outcome: ReleaseOutcome) -> Option<AgentFact> {
        let (offer_id, contact_id, token) = self.held.get(agent).filter(|held| held.0 == offer).cloned()?;
        self.held.remove(agent);
        Some(AgentFact::ReservationReleased {
            agent_id: agent.parse().unwrap(),
            offer_id: offer_id.parse().unwrap(),
            contact_id: contact_id.parse().unwrap(),
            token,
            outcome,
        })
    }
}

impl Fake {
    pub(super) fn new(agents: Told<AgentFact>, clock: Clock) -> Self {
        Self(Arc::new(Mutex::new(State::new(agents, clock))))
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    pub async fn tell(&self, facts: Vec<AgentFact>) {
        let ticket = self.state().agents.tell(facts);
        ticket.await.unwrap();
    }

    /// An agent signs in with a telephone and becomes ready.
    pub async fn comes(&self, name: &str) {
        self.state().ready.insert(agent(name).to_string());
        let signed_in = AgentFact::AgentSignedIn {
            agent_id: agent(name),
            session_id: SessionId::from_name(name).unwrap(),
            site_id: None,
        };
        let registered = AgentFact::DeviceRegistered {
            agent_id: agent(name),
            device_id: DeviceId::from_name(name).unwrap(),
            contact_uri: format!("sip:{name}@127.0.0.1"),
            node_id: node("one"),
            expires_at: Timestamp(i64::MAX),
        };
        self.tell(vec![signed_in, registered, AgentFact::AgentBecameReady { agent_id: agent(name) }]).await;
    }

    /// The media node reports how a reservation ended.
    pub async fn release(&self, offer: &media::OfferContactRequest, outcome: ReleaseOutcome) {
        let fact = self.state().release(&offer.agent_id, &offer.offer_id, outcome);
        self.tell(vec![fact.unwrap()]).await;
    }
}

fn busy() -> Status {
    grpc::status_of(RejectionKind::ResourceExhausted, "OVERLOADED", "too many commands wait")
}

fn stale() -> Status {
    grpc::status_of(RejectionKind::FailedPrecondition, "STALE_EPOCH", "epoch of routing/0 is not current")
}

macro_rules! unknown {
    ($($method:ident $request:ident $response:ident;)*) => {
        #[tonic::async_trait]
        impl AgentStateService for Fake {
            type WatchAgentsStream = tonic::codegen::BoxStream<api::WatchAgentsResponse>;

            async fn watch_agents(
                &self,
                _: Request<api::WatchAgentsRequest>,
            ) -> Result<Response<Self::WatchAgentsStream>, Status> {
                Err(Status::unimplemented("nobody watches here"))
            }

            async fn acquire_lease(
                &self,
                request: Request<api::AcquireLeaseRequest>,
            ) -> Result<Response<api::AcquireLeaseResponse>, Status> {
                let it = request.into_inner();
                let mut state = self.state();
                if state.busy {
                    return Err(busy());
                }
                let now = state.clock.now();
                if state.expires_at <= now {
                    state.owner = None;
                }
                let free = state.owner.as_ref().is_none_or(|(holder, _)| *holder == it.holder);
                if state.withheld || !(free || state.careless) {
                    let mut status = grpc::status_of(RejectionKind::Conflict, LEASE_HELD, "lease is held");
                    if let Some((holder, _)) = &state.owner {
                        let left = state.expires_at.since(now);
                        tell_holder(&mut status, &holder.parse().unwrap(), left);
                    }
                    return Err(status);
                }
                state.index += 1;
                let epoch = state.index;
                state.owner = Some((it.holder, epoch));
                state.expires_at = now + Millis(it.ttl_ms);
                let expires_at_ms = state.expires_at.0;
                Ok(Response::new(api::AcquireLeaseResponse { epoch, expires_at_ms, ..Default::default() }))
            }

            async fn renew_lease(
                &self,
                request: Request<api::RenewLeaseRequest>,
            ) -> Result<Response<api::RenewLeaseResponse>, Status> {
                let it = request.into_inner();
                let mut state = self.state();
                let now = state.clock.now();
                let held = state.owner.as_ref() == Some(&(it.holder, it.epoch)) && now < state.expires_at;
                if state.withheld || !(held || state.careless) {
                    return Err(stale());
                }
                state.expires_at = now + Millis(it.ttl_ms);
                Ok(Response::new(api::RenewLeaseResponse { expires_at_ms: state.expires_at.0 }))
            }

            async fn release_lease(
                &self,
                request: Request<api::ReleaseLeaseRequest>,
            ) -> Result<Response<api::ReleaseLeaseResponse>, Status> {
                let it = request.into_inner();
                let mut state = self.state();
                if state.owner.as_ref() == Some(&(it.holder, it.epoch)) {
                    state.owner = None;
                }
                Ok(Response::new(api::ReleaseLeaseResponse {}))
            }

            async fn reserve_agents(
                &self,
                request: Request<api::ReserveAgentsRequest>,
            ) -> Result<Response<api::ReserveAgentsResponse>, Status> {
                let it = request.into_inner();
                let (response, ticket) = {
                    let mut state = self.state();
                    if let Some(answer) = state.answers.get(&it.command_id) {
                        return Ok(Response::new(answer.clone()));
                    }
                    if state.owner.as_ref().is_none_or(|(_, epoch)| *epoch != it.routing_epoch) {
                        state.refused.push(it.routing_epoch);
                        return Err(stale());
                    }
                    let mut facts = Vec::new();
                    let answers =
                        it.wishes.iter().map(|wish| state.wish(it.routing_epoch, wish, &mut facts)).collect();
                    let response = api::ReserveAgentsResponse { answers };
                    state.answers.insert(it.command_id, response.clone());
                    let ticket = (!facts.is_empty()).then(|| state.agents.tell(facts));
                    (response, ticket)
                };
                if let Some(ticket) = ticket {
                    ticket.await.unwrap();
                }
                if let Some(status) = self.state().unheard.pop() {
                    return Err(status);
                }
                Ok(Response::new(response))
            }

            async fn release_reservation(
                &self,
                request: Request<api::ReleaseReservationRequest>,
            ) -> Result<Response<api::ReleaseReservationResponse>, Status> {
                let it = request.into_inner();
                let ticket = {
                    let mut state = self.state();
                    if let Some(status) = state.unheard.pop() {
                        return Err(status);
                    }
                    assert_eq!(it.outcome(), api::ReservationOutcome::Rescinded, "routing may only rescind");
                    let fact = state.release(&it.agent_id, &it.offer_id, ReleaseOutcome::Rescinded);
                    state.rescinded.push(it.offer_id);
                    fact.map(|fact| state.agents.tell(vec![fact]))
                };
                let released = ticket.is_some();
                if let Some(ticket) = ticket {
                    ticket.await.unwrap();
                }
                Ok(Response::new(api::ReleaseReservationResponse { released }))
            }

            $(async fn $method(&self, _: Request<api::$request>) -> Result<Response<api::$response>, Status> {
                Err(Status::unimplemented("routing has no business with it"))
            })*
        }
    };
}
unknown! {
    sign_in SignInRequest SignInResponse;
    keep_session KeepSessionRequest KeepSessionResponse;
    sign_out SignOutRequest SignOutResponse;
    go_ready GoReadyRequest GoReadyResponse;
    go_not_ready GoNotReadyRequest GoNotReadyResponse;
    force_presence ForcePresenceRequest ForcePresenceResponse;
    finish_wrap_up FinishWrapUpRequest FinishWrapUpResponse;
    request_wrap_up RequestWrapUpRequest RequestWrapUpResponse;
    extend_wrap_up ExtendWrapUpRequest ExtendWrapUpResponse;
    list_agents ListAgentsRequest ListAgentsResponse;
    register_device RegisterDeviceRequest RegisterDeviceResponse;
    unregister_device UnregisterDeviceRequest UnregisterDeviceResponse;
    define_roster DefineRosterRequest DefineRosterResponse;
    accept_reservation AcceptReservationRequest AcceptReservationResponse;
}
