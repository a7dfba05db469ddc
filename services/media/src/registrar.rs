//! Agents' phones: REGISTER (RFC 3261 §10) with digest authentication; agent-state keeps the bindings.

use std::sync::{Mutex, PoisonError};

use sha2::{Digest as _, Sha256};
use tracing::{info, warn};
use trunkline_domain::facts::Agent;
use trunkline_domain::vocabulary::{AgentId, DeviceId, Millis, Timestamp};
use trunkline_proto::agent_state::v1 as api;

use crate::shell::Node;
use crate::sip::digest::{Algorithm, Credentials, Guard, Verdict};
use crate::sip::fields::{NameAddr, Uri};
use crate::sip::message::Message;
use crate::sip::stack::{ServerTransaction, lock};

/// How many phones one agent may have.
const PHONE_COUNT_MAX: usize = 5;

/// What the registrar keeps: the nonces in use.
pub(crate) struct Registrar(Mutex<Guard>);

impl Registrar {
    pub fn new(secret: [u8; 32]) -> Self {
        Self(Mutex::new(Guard::new(secret)))
    }
}

/// What a REGISTER asks for.
enum Wish {
    /// Only the list.
    Query,
    /// Everything gone (`Contact: *`).
    Clear,
    /// These URIs for so many seconds each; 0 ends one.
    Bind(Vec<(String, u32)>),
}

/// Answers a REGISTER.
pub(crate) async fn register(node: &Node, transaction: ServerTransaction) {
    let ServerTransaction { request, arrived_at, responder, .. } = transaction;
    let answer = match authenticate(node, &request, arrived_at) {
        Ok(agent) => bind(node, &request, &agent, arrived_at).await,
        Err(answer) => answer,
    };
    responder.respond(answer);
}

/// The agent whose phone it is, or the answer that says why not.
fn authenticate(node: &Node, request: &Message, now: Timestamp) -> Result<Agent, Message> {
    let answer = |status| Message::response(request, status, "registrar");
    let user = request.to().and_then(|to| Uri::parse(&to.uri)).map(|uri| uri.user).unwrap_or_default();
    let credentials = request
        .values("authorization")
        .find_map(|value| Credentials::parse(value).filter(|c| c.username == user));
    let agent = {
        let directory = node.directory.read().unwrap_or_else(PoisonError::into_inner);
        directory.agent_by_sip_user(&user, now).cloned()
    };
    let verdict = match &credentials {
        None if request.value("authorization").is_some() => Verdict::Wrong,
        None => Verdict::Missing,
        Some(credentials) => {
            let ha1 = agent.as_ref().map(|agent| match credentials.algorithm() {
                Algorithm::Md5 => agent.sip_ha1_md5.as_str(),
                Algorithm::Sha256 => agent.sip_ha1_sha256.as_str(),
            });
            lock(&node.registrar.0).check(now, "REGISTER", credentials, ha1)
        }
    };
    match (verdict, agent) {
        (Verdict::Granted, Some(agent)) => Ok(agent),
        (Verdict::Missing | Verdict::Stale, _) => {
            let stale = verdict == Verdict::Stale;
            let challenges = lock(&node.registrar.0).challenges(now, node.platform.mint.random(), stale);
            Err(challenges
                .into_iter()
                .fold(answer(401), |answer, value| answer.with("WWW-Authenticate", value)))
        }
        // Whether the user or the password is wrong is not told.
        (Verdict::Wrong | Verdict::Granted, _) => {
            info!("a phone gave wrong credentials");
            Err(answer(403))
        }
    }
}

fn wish(node: &Node, request: &Message) -> Result<Wish, Message> {
    let answer = |status| Message::response(request, status, "registrar");
    let contacts = request.list("contact");
    let general = match request.value("expires") {
        Some(text) => Some(text.trim().parse::<u32>().map_err(|_| answer(400))?),
        None => None,
    };
    if contacts.iter().any(|contact| contact == "*") {
        // RFC 3261 §10.3: `*` stands alone and with Expires: 0.
        return if contacts.len() == 1 && general == Some(0) { Ok(Wish::Clear) } else { Err(answer(400)) };
    }
    let mut bindings = Vec::new();
    for contact in &contacts {
        let contact = NameAddr::parse(contact).ok_or_else(|| answer(400))?;
        Uri::parse(&contact.uri).filter(|uri| uri.scheme == "sip").ok_or_else(|| answer(400))?;
        let own = contact.param("expires").and_then(|text| text.parse::<u32>().ok());
        let config = &node.config;
        let expires = own.or(general).unwrap_or(config.register_expires_s_default);
        if expires != 0 && expires < config.register_expires_s_min {
            return Err(answer(423).with("Min-Expires", config.register_expires_s_min.to_string()));
        }
        bindings.push((contact.uri, expires.min(config.register_expires_s_max)));
    }
    Ok(if bindings.is_empty() { Wish::Query } else { Wish::Bind(bindings) })
}

async fn bind(node: &Node, request: &Message, agent: &Agent, now: Timestamp) -> Message {
    let answer = |status| Message::response(request, status, "registrar");
    let wish = match wish(node, request) {
        Ok(wish) => wish,
        Err(answer) => return answer,
    };
    let mut phones: Vec<(DeviceId, String, Timestamp)> = {
        let known = node.phones.read().unwrap_or_else(PoisonError::into_inner);
        known
            .registered(&agent.agent_id, now)
            .into_iter()
            .map(|(device_id, phone)| (device_id.clone(), phone.contact_uri.clone(), phone.expires_at))
            .collect()
    };
    let changes = match wish {
        Wish::Query => Vec::new(),
        Wish::Clear => phones.iter().map(|(_, uri, _)| (uri.clone(), 0)).collect(),
        Wish::Bind(bindings) => bindings,
    };
    for (uri, expires) in changes {
        let device_id = device_id(&agent.agent_id, &uri);
        phones.retain(|(known, _, _)| *known != device_id);
        let changed = if expires == 0 {
            unregister(node, &agent.agent_id, &device_id).await
        } else if phones.len() >= PHONE_COUNT_MAX {
            return answer(403);
        } else {
            let expires_at = now + Millis::from_secs(i64::from(expires));
            phones.push((device_id.clone(), uri.clone(), expires_at));
            registered(node, &agent.agent_id, &device_id, uri, expires_at).await
        };
        if let Err(status) = changed {
            warn!(agent_id = %agent.agent_id, reason = status.message(), "a phone could not be registered");
            return answer(503).with("Retry-After", "2");
        }
    }
    let mut ok = answer(200);
    for (_, uri, expires_at) in phones {
        ok.push("Contact", format!("<{uri}>;expires={}", expires_at.since(now).0.max(0) / 1000));
    }
    ok
}

async fn registered(
    node: &Node,
    agent_id: &AgentId,
    device_id: &DeviceId,
    contact_uri: String,
    expires_at: Timestamp,
) -> Result<(), tonic::Status> {
    let request = api::RegisterDeviceRequest {
        command_id: String::new(),
        agent_id: agent_id.to_string(),
        device_id: device_id.to_string(),
        contact_uri,
        node_id: node.platform.node_id.to_string(),
        expires_at_ms: expires_at.0,
    };
    node.agent_state.register_device(request).await.map(drop)
}

async fn unregister(node: &Node, agent_id: &AgentId, device_id: &DeviceId) -> Result<(), tonic::Status> {
    let request = api::UnregisterDeviceRequest {
        command_id: String::new(),
        agent_id: agent_id.to_string(),
        device_id: device_id.to_string(),
        reason: "unregistered".to_owned(),
    };
    node.agent_state.unregister_device(request).await.map(drop)
}

/// A device is named by its agent and the URI it is called at, so that a refresh is the same device.
fn device_id(agent_id: &AgentId, contact_uri: &str) -> DeviceId {
    let digest =
        Sha256::new().chain_update(agent_id.as_str()).chain_update([0]).chain_update(contact_uri).finalize();
    DeviceId::from_name(&hex::encode(&digest[..12])).expect("24 hex digits are of the alphabet of ids")
}
