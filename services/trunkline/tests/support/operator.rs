//! Who is in `tests/operator.yaml`, and how agents come to work.

use std::path::Path;

use serde_json::json;

use super::cluster::Cluster;
use super::sipp::{Phone, register};
use super::{hold, until};

/// The document.
pub const DOCUMENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/operator.yaml");

/// The companies.
pub const COMPANIES: [&str; 2] = ["cmp_alpha", "cmp_beta"];

/// The agents; the phone user of `agt_N` is `200N`, its password `test-200N`.
pub const AGENTS: [&str; 8] = ["agt_1", "agt_2", "agt_3", "agt_4", "agt_5", "agt_6", "agt_7", "agt_8"];

/// Keys.
pub const OPERATOR_KEY: &str = "test-operator-key";
pub const ALPHA_KEY: &str = "test-alpha-key";
pub const BETA_KEY: &str = "test-beta-key";

/// Numbers: offers run out soon; offers and wrap-up last; a long greeting; another company's; nobody's.
pub const ALPHA: &str = "+493023125400";
pub const ALPHA_LONG: &str = "+493023125401";
pub const ALPHA_TALKATIVE: &str = "+493023125402";
pub const BETA: &str = "+493023125500";
pub const NOBODY: &str = "+493023125999";

/// What a phone does with its calls, the first, the second and so on; behind the last from the first again.
pub type Plan<'a> = &'a [Answer];

/// What a phone does with one call.
#[derive(Clone, Copy)]
pub enum Answer {
    /// Answers after a moment, and talks until the other side hangs up.
    Talk,
    /// Declines with 486.
    Decline,
    /// Rings until it is cancelled.
    Ring,
}

/// Starts a phone for an agent and registers it.
#[track_caller]
pub fn phone(cluster: &Cluster, dir: &Path, agent_id: &str, plan: Plan) -> Phone {
    let number = agent_id.trim_start_matches("agt_");
    let user = format!("200{number}");
    let phone = Phone::start(dir, &user, plan);
    register(dir, cluster.sip(), &user, &format!("test-{user}"), phone.port);
    phone
}

/// Signs an agent in.
#[track_caller]
pub fn sign_in(cluster: &Cluster, agent_id: &str) {
    let signed_in = cluster.post(&format!("/v1/agents/{agent_id}:signIn"), &json!({}));
    assert!(signed_in.is_ok(), "{signed_in:?}");
}

/// Makes an agent ready.
#[track_caller]
pub fn go_ready(cluster: &Cluster, agent_id: &str) {
    let ready = cluster.post(&format!("/v1/agents/{agent_id}:goReady"), &json!({}));
    assert!(ready.is_ok(), "{ready:?}");
    until("the agent's readiness", || {
        let agents = cluster.agents()?;
        hold(agents.get(agent_id).is_some_and(|activity| activity != "not_ready"), agents)
    });
}

/// A phone, registered, and its agent signed in and ready.
#[track_caller]
pub fn at_work(cluster: &Cluster, dir: &Path, agent_id: &str, plan: Plan) -> Phone {
    let phone = phone(cluster, dir, agent_id, plan);
    sign_in(cluster, agent_id);
    go_ready(cluster, agent_id);
    phone
}
