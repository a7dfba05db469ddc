//! Who takes part: one company with one queue, agents who can serve it, signed in, ready, and with a phone each.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use futures::stream::{self, TryStreamExt};
use tonic::Status;
use trunkline_proto::agent_state::v1 as api;
use trunkline_runtime::agent_state_client::AgentStateClient;
use trunkline_runtime::clock::Clock;
use trunkline_runtime::mint::Mint;

use crate::Failure;
use crate::ear::unix_ms;

/// The number that is called; of those kept free for films.
pub(super) const DIALLED: &str = "493023125500";
/// Agents that are made ready at the same time.
const AT_ONCE: usize = 8;
/// How long the directory's agents may take to reach agent-state.
const ROSTER_WITHIN: Duration = Duration::from_secs(60);
/// How long the phones may be called: longer than any run.
const CALLABLE_MS: i64 = 3_600_000;

/// The operator's document. The greeting is the shortest there is: with it, the fact that queues a contact is decided by
/// itself; without one it would bear the time of the arrival, and the append of that would be in the way.
pub(super) fn document(agent_count: usize) -> String {
    let mut text = "operator: { id: opr_bench, name: Bench, time_zone: Europe/Berlin }\n\
         skills: [{ id: skl_voice, name: Voice }]\n\
         companies:\n\
         \x20 - id: cmp_bench\n\
         \x20   name: Bench\n\
         \x20   service_level_threshold: 20s\n\
         \x20   queues:\n\
         \x20     - { id: que_bench, name: Bench, required_skills: [skl_voice], offer_timeout: 15s, wrap_up: 0s, miss_count_max: 0, reoffer_after: 1s }\n\
         \x20   flows: [{ id: flw_bench, greeting_prompt: beep, music: macroform-cold_day, queue: que_bench }]\n\
         \x20   numbers: [{ number: \"+49 30 23125 500\", flow: flw_bench }]\n\
         \x20   contracts: [{ id: ctr_bench, version: 1, unit: talk_time, price: 0.12 EUR per minute, first_increment: 6s, increment: 6s }]\n\
         agents:\n"
        .to_owned();
    for number in 1..=agent_count {
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "  - {{ id: {}, name: Agent {number}, skills: [skl_voice], sip_user: \"{number}\", sip_password: bench-{number} }}",
            agent_id(number)
        );
    }
    text
}

fn agent_id(number: usize) -> String {
    format!("agt_{number}")
}

/// Signs every agent in, gives each a phone at `phones`, and gets all of them ready.
///
/// # Errors
/// When agent-state refuses for too long.
pub(super) async fn sign_in(
    voters: &[String],
    phones: SocketAddr,
    agent_count: usize,
) -> Result<(), Failure> {
    let client = AgentStateClient::new(voters, Mint::system(Clock::system()));
    let until = Instant::now() + ROSTER_WITHIN;
    let agents = stream::iter((1..=agent_count).map(Ok::<_, Failure>));
    agents
        .try_for_each_concurrent(AT_ONCE, |number| {
            let client = client.clone();
            async move {
                let agent_id = agent_id(number);
                let refused = |status: Status| Failure::new(format!("{agent_id} is not ready: {status}"));
                let session =
                    api::SignInRequest { agent_id: agent_id.clone(), ..api::SignInRequest::default() };
                // The document was applied a moment ago.
                while let Err(status) = client.sign_in(session.clone()).await {
                    if Instant::now() > until {
                        return Err(refused(status));
                    }
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
                let device = api::RegisterDeviceRequest {
                    command_id: String::new(),
                    agent_id: agent_id.clone(),
                    device_id: format!("dev_{number}"),
                    contact_uri: format!("sip:{number}@{phones}"),
                    node_id: "nod_bench".to_owned(),
                    expires_at_ms: unix_ms() + CALLABLE_MS,
                };
                client.register_device(device).await.map_err(refused)?;
                let ready = api::GoReadyRequest { agent_id: agent_id.clone(), ..Default::default() };
                client.go_ready(ready).await.map(drop).map_err(refused)
            }
        })
        .await
}
