//! Following the leader, retrying under the same command id, and keeping a lease.
#![allow(clippy::unwrap_used, reason = "tests may unwrap")]

mod support;

use std::time::Duration;

use futures::FutureExt;
use support::{Fake, Trouble, held, not_leader};
use tonic::{Code, Status};
use trunkline_domain::vocabulary::{Epoch, Millis, NodeId, Timestamp};
use trunkline_proto::agent_state::v1::GoReadyRequest;
use trunkline_runtime::agent_state_client::AgentStateClient;
use trunkline_runtime::clock::{Clock, ManualClock};
use trunkline_runtime::lease::{Candidate, Denied, Doubt, Lease, LeaseError, tell_holder};
use trunkline_runtime::mint::Mint;
use trunkline_runtime::shutdown::Shutdown;

const TTL: Millis = Millis(3_000);
/// Long enough for any machine; reached only when a test fails.
const PATIENCE: Duration = Duration::from_secs(60);

fn go_ready() -> GoReadyRequest {
    GoReadyRequest { agent_id: "agt_anna".to_owned(), ..GoReadyRequest::default() }
}

#[tokio::test]
async fn a_command_whose_answer_was_lost_takes_effect_once() {
    let (fake, shutdown) = (Fake::default(), Shutdown::new());
    let client = fake.client(&shutdown);
    fake.state().trouble.extend([Trouble::AnswerLost, Trouble::AnswerLost]);
    client.go_ready(go_ready()).await.unwrap();
    let state = fake.state();
    assert_eq!(state.applied.len(), 1);
    assert_eq!(state.seen.values().copied().collect::<Vec<_>>(), vec![3], "three attempts, one command id");
}

#[tokio::test]
async fn a_follower_sends_the_client_to_the_leader_and_later_calls_go_there_at_once() {
    let (follower, leader, shutdown) = (Fake::default(), Fake::default(), Shutdown::new());
    let leader_address = leader.serve(&shutdown);
    follower.state().trouble.push_back(Trouble::LeaderAt(leader_address));
    // Only the follower is configured: the leader is known from its word alone.
    let client = AgentStateClient::new(&[follower.serve(&shutdown)], Mint::seeded(1));
    client.go_ready(go_ready()).await.unwrap();
    client.go_ready(go_ready()).await.unwrap();
    assert_eq!((follower.state().seen.len(), leader.state().applied.len()), (1, 2));
}

#[tokio::test]
async fn a_voter_that_is_not_there_is_passed_over() {
    let (fake, shutdown) = (Fake::default(), Shutdown::new());
    let nobody = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap().to_string()
    };
    let client = AgentStateClient::new(&[nobody, fake.serve(&shutdown)], Mint::seeded(1));
    client.go_ready(go_ready()).await.unwrap();
    assert_eq!(fake.state().applied.len(), 1);
}

#[tokio::test]
async fn a_refusal_of_the_leader_is_final_and_a_call_without_any_leader_ends() {
    let (fake, shutdown) = (Fake::default(), Shutdown::new());
    let client = fake.client(&shutdown);
    fake.state().trouble.push_back(Trouble::Refused(Status::failed_precondition("not signed in")));
    assert_eq!(client.go_ready(go_ready()).await.unwrap_err().message(), "not signed in");
    assert_eq!(fake.state().seen.len(), 1);

    fake.state().trouble.extend((0..1_000).map(|_| Trouble::Refused(not_leader(""))));
    let short = client.with_time_max(Duration::from_millis(200));
    assert_eq!(short.go_ready(go_ready()).await.unwrap_err().message(), "not the leader");
    let none = AgentStateClient::new(&[], Mint::seeded(1));
    assert_eq!(none.go_ready(go_ready()).await.unwrap_err().code(), Code::Unavailable);
}

#[tokio::test]
async fn a_call_is_part_of_the_trace_it_is_made_in() {
    let (fake, shutdown) = (Fake::default(), Shutdown::new());
    let traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    fake.client(&shutdown).with_traceparent(traceparent).go_ready(go_ready()).await.unwrap();
    assert_eq!(fake.state().traceparent, traceparent);
}

struct Scene {
    fake: Fake,
    shutdown: Shutdown,
    clock: Clock,
    hand: ManualClock,
    client: AgentStateClient,
    node: NodeId,
}

impl Scene {
    fn new() -> Self {
        let (fake, shutdown) = (Fake::default(), Shutdown::new());
        let (clock, hand) = Clock::manual(Timestamp(1_000_000));
        let client = fake.client(&shutdown);
        Self { fake, shutdown, clock, hand, client, node: NodeId::parse("nod_a").unwrap() }
    }

    async fn acquire(&self) -> Result<Lease, LeaseError> {
        let resource = "routing/0";
        Lease::acquire(&self.client, &self.clock, resource, &self.node, "127.0.0.1:1", TTL, &self.shutdown)
            .await
    }

    /// Moves the time on in small steps until `done`.
    async fn until(&self, what: &str, done: impl Fn() -> bool) {
        let reached = async {
            while !done() {
                self.hand.advance(Millis(50));
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(PATIENCE, reached).await.unwrap_or_else(|_| panic!("never: {what}"));
    }
}

#[tokio::test]
async fn a_lease_has_the_epoch_of_its_grant_and_lives_on_by_renewal() {
    let scene = Scene::new();
    let lease = scene.acquire().await.unwrap();
    assert_eq!((lease.epoch, lease.previous_renewed_at), (Epoch(1), Some(Timestamp(77))));
    // The clock stands while a renewal is under way, so that none can come too late.
    for third in 1..=9 {
        let renewed = scene.fake.state().applied.len();
        scene.hand.advance(Millis(TTL.0 / 3));
        let moved_on = async {
            while scene.fake.state().applied.len() == renewed {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            while !lease.valid(scene.clock.now() + Millis(TTL.0 - 1)) {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(PATIENCE, moved_on).await.unwrap_or_else(|_| panic!("renewal {third}"));
    }
    let again = scene.acquire().await.unwrap();
    assert!(again.epoch > lease.epoch, "a holder that acquires again gets a new fence");
}

#[tokio::test]
async fn a_lease_whose_renewal_is_refused_is_lost() {
    let scene = Scene::new();
    let lease = scene.acquire().await.unwrap();
    scene.fake.state().leases.insert("routing/0".to_owned(), ("nod_b".to_owned(), 99));
    scene.hand.advance(Millis(TTL.0 / 3));
    tokio::time::timeout(PATIENCE, lease.lost()).await.unwrap();
    assert!(!lease.valid(scene.clock.now()), "lost before it would have lapsed");
}

#[tokio::test]
async fn a_lease_that_cannot_be_renewed_in_time_is_lost_and_not_before() {
    let scene = Scene::new();
    let lease = scene.acquire().await.unwrap();
    let overloaded = || Trouble::Refused(Status::resource_exhausted("overloaded"));
    let no_quorum = || Trouble::Refused(Status::unavailable("no quorum"));
    scene.fake.state().trouble.extend((0..100_000).flat_map(|_| [overloaded(), no_quorum()]));
    scene.hand.advance(TTL - Millis(1));
    while scene.fake.state().seen.len() < 2 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert!(lease.valid(scene.clock.now()));
    scene.hand.advance(Millis(1));
    assert!(!lease.valid(scene.clock.now()));
    tokio::time::timeout(PATIENCE, lease.lost()).await.unwrap();
}

#[tokio::test]
async fn who_finds_a_lease_held_waits_for_it_and_gets_it_when_it_is_given_back() {
    let scene = Scene::new();
    scene.fake.state().trouble.extend([
        Trouble::Refused(held()),
        Trouble::Refused(not_leader("")),
        Trouble::Refused(held()),
    ]);
    let mut acquired = Box::pin(scene.acquire());
    let lease = {
        tokio::select! {
            lease = &mut acquired => lease.unwrap(),
            () = scene.until("the lease", || false) => unreachable!(),
        }
    };
    lease.release().await;
    assert!(scene.fake.state().leases.is_empty());
}

#[tokio::test]
async fn waiting_for_a_lease_ends_with_shutdown_and_a_wrong_request_at_once() {
    let scene = Scene::new();
    scene.fake.state().leases.insert("routing/0".to_owned(), ("nod_b".to_owned(), 1));
    let (outcome, ()) = tokio::join!(scene.acquire(), async {
        while scene.fake.state().seen.is_empty() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        scene.shutdown.begin();
    });
    assert!(matches!(outcome, Err(LeaseError::ShuttingDown { .. })));

    let scene = Scene::new();
    scene.fake.state().trouble.push_back(Trouble::Refused(Status::invalid_argument("no such resource")));
    assert!(matches!(scene.acquire().await, Err(LeaseError::Refused { .. })));
}

#[tokio::test]
async fn who_takes_a_lease_is_not_behind_the_time_of_agent_state_and_holds_it_all_the_same() {
    let mut scene = Scene::new();
    scene.clock = Clock::system();
    // The clock of this machine was set back an hour, agent-state has seen the time before.
    let seen = scene.clock.now() + Millis(3_600_000);
    scene.fake.state().expires_at_ms = (seen + TTL).0;
    let lease = scene.acquire().await.unwrap();
    let now = scene.clock.now();
    assert!(now >= seen, "a deadline made now is not in the past for agent-state");
    assert!(lease.valid(now));
}

#[tokio::test]
async fn who_was_stopped_for_longer_than_the_lease_lasts_finds_it_over_before_any_timer_has_gone_off() {
    let scene = Scene::new();
    let lease = scene.acquire().await.unwrap();
    let tenure = lease.tenure();
    assert_eq!(lease.lost().now_or_never(), None);
    // Nothing else runs between the waking up and the question.
    scene.hand.advance(TTL);
    assert_eq!((lease.lost().now_or_never(), tenure.over().now_or_never()), (Some(()), Some(())));
    // Nor does it come back, whatever a renewal under way is answered.
    scene.hand.advance(Millis(-1));
    assert!(!tenure.valid(scene.clock.now()));
}

#[tokio::test]
async fn a_lease_that_is_given_back_is_over_for_all_who_act_under_it() {
    let scene = Scene::new();
    let lease = scene.acquire().await.unwrap();
    let tenure = lease.tenure();
    assert_eq!(tenure.over().now_or_never(), None);
    lease.release().await;
    assert_eq!(tenure.over().now_or_never(), Some(()));
}

#[tokio::test]
async fn a_candidate_is_told_who_has_the_lease() {
    let scene = Scene::new();
    let mut status = held();
    tell_holder(&mut status, &NodeId::parse("nod_b").unwrap(), Millis(1_000));
    scene
        .fake
        .state()
        .trouble
        .extend([status, held(), Status::resource_exhausted("overloaded")].map(Trouble::Refused));
    let Scene { client, clock, node: holder, shutdown, .. } = &scene;
    let candidate =
        Candidate { client, clock, resource: "routing/0", holder, address: "", ttl: TTL, doubt: Doubt::Ends };
    let mut refusals = Vec::new();
    let lease = tokio::select! {
        lease = candidate.wait(shutdown, |denied: &Denied| refusals.push(denied.to_string())) => lease.unwrap(),
        () = scene.until("the lease", || false) => unreachable!(),
    };
    assert_eq!(refusals, ["nod_b has it", "another node has it", "overloaded"]);
    lease.release().await;
}

#[tokio::test]
async fn a_lease_that_lasts_through_doubt_is_not_valid_meanwhile_and_valid_again_when_it_was_renewed() {
    let scene = Scene::new();
    let Scene { client, clock, node: holder, shutdown, .. } = &scene;
    let doubt = Doubt::Lasts;
    let candidate =
        Candidate { client, clock, resource: "media/nod_a", holder, address: "", ttl: TTL, doubt };
    let lease = candidate.wait(shutdown, |_| {}).await.unwrap();
    let tenure = lease.tenure();
    tokio::time::timeout(PATIENCE, tenure.becomes(true)).await.unwrap();
    // Nobody who knows answers, for far longer than the lease lasts.
    scene.fake.state().trouble.extend((0..40).map(|_| Trouble::Refused(Status::unavailable("no quorum"))));
    scene.hand.advance(Millis(10 * TTL.0));
    tokio::time::timeout(PATIENCE, tenure.becomes(false)).await.unwrap();
    assert_eq!((tenure.valid(clock.now()), lease.lost().now_or_never()), (false, None));
    scene.until("a renewal", || tenure.valid(clock.now())).await;
    assert_eq!(lease.lost().now_or_never(), None);
    // What agent-state refuses is over, doubt or not.
    scene.fake.state().leases.insert("media/nod_a".to_owned(), ("nod_b".to_owned(), 99));
    scene.until("the refusal", || lease.lost().now_or_never().is_some()).await;
}

#[tokio::test]
async fn a_clock_that_is_an_hour_ahead_of_agent_states_gets_no_lease_and_is_told_so() {
    let scene = Scene::new();
    let Scene { client, clock, node: holder, .. } = &scene;
    scene.fake.state().expires_at_ms = (clock.now() + TTL).0;
    scene.hand.advance(Millis(3_600_000));
    let doubt = Doubt::Ends;
    let candidate = Candidate { client, clock, resource: "billing/0", holder, address: "", ttl: TTL, doubt };
    let denied = candidate.ask().await.map(|lease| lease.epoch).unwrap_err();
    assert_eq!(denied.to_string(), "this clock is 3600.0 s ahead of agent-state's");
    assert!(scene.fake.state().leases.is_empty(), "what is not wanted is given back");
    scene.hand.advance(Millis(-3_600_000));
    assert!(candidate.ask().await.is_ok());
}
