//! `trunkline queues`: who waits where, as a table that follows; and why one contact waits.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use serde_json::json;
use tonic::transport::Channel;
use tonic::{Code, Request, Status};
use trunkline_domain::vocabulary::Timestamp;
use trunkline_proto::routing::v1 as api;
use trunkline_proto::routing::v1::routing_service_client::RoutingServiceClient;
use trunkline_runtime::clock::Clock;
use trunkline_runtime::event_log::settings::settings;
use trunkline_runtime::grpc::{address_error, channel_with_deadline};

use crate::endpoints::{Addresses, DATA_DIR};
use crate::live::{self, span};
use crate::settings::EndpointsSection;
use crate::{Failure, table};

/// How long one look may take.
const ASK_TIME_MAX: Duration = Duration::from_secs(3);

#[derive(Args)]
pub(crate) struct QueuesArgs {
    /// A data directory of the cluster, whose settings name the nodes of routing.
    #[arg(long, default_value = DATA_DIR, env = "TRUNKLINE_DATA_DIR")]
    data: PathBuf,
    /// A TOML file whose section endpoints names the nodes of routing.
    #[arg(long)]
    config: Option<PathBuf>,
    /// The nodes of routing, instead of those that the settings name.
    #[arg(long, value_name = "HOST:PORT,HOST:PORT", value_delimiter = ',')]
    routing: Vec<String>,
    /// Only the queues of this company, `cmp_…`.
    #[arg(long, default_value = "")]
    company: String,
    /// Say why this contact waits, `ctc_…`, and what would release it.
    #[arg(long, value_name = "CONTACT")]
    explain: Option<String>,
    /// Print the table once, also on a terminal.
    #[arg(long)]
    once: bool,
    /// Print JSON, once.
    #[arg(long)]
    json: bool,
}

/// Shows the queues once, or again and again on a terminal, until Ctrl-C.
pub(crate) async fn run(args: QueuesArgs) -> Result<(), Failure> {
    let nodes = Nodes(addresses(&args)?.iter().map(|it| channel_with_deadline(it, ASK_TIME_MAX)).collect());
    if let Some(contact_id) = args.explain {
        let request = api::ExplainContactRequest { contact_id };
        let explained =
            nodes.ask(async |node| node.explain_contact(Request::new(request.clone())).await).await;
        let explained = explained.map_err(|status| failure("explain the contact", &status))?;
        match args.json {
            true => println!("{}", explained_as_json(&explained)),
            false => print!("{}", explained_as_text(&explained, Clock::system().now())),
        }
        return Ok(());
    }
    let request = api::ListQueuesRequest { company_id: args.company };
    let look = async || {
        let listed = nodes.ask(async |node| node.list_queues(Request::new(request.clone())).await).await;
        listed.map_err(|status| failure("list the queues", &status))
    };
    if args.json {
        println!("{}", as_json(&look().await?));
        return Ok(());
    }
    let text = async || Ok(as_text(&look().await?, Clock::system().now()));
    if live::once(args.once) {
        print!("{}", text().await?);
        return Ok(());
    }
    live::follow(text).await
}

fn addresses(args: &QueuesArgs) -> Result<Vec<String>, Failure> {
    let usage = |error: trunkline_runtime::config::ConfigError| Failure::usage(error.to_string());
    let mut settings = settings(&args.data, args.config.as_deref()).map_err(usage)?;
    let endpoints = settings.section("endpoints", |_: &EndpointsSection| Ok(())).map_err(usage)?;
    let addresses = match [args.routing.clone(), endpoints.routing].into_iter().find(|it| !it.is_empty()) {
        Some(addresses) => addresses,
        None => vec![Addresses::read(&args.data)?.service("routing")?],
    };
    match addresses.iter().find_map(|address| address_error(address)) {
        Some(problem) => Err(Failure::usage(format!("could not ask routing: {problem}"))),
        None => Ok(addresses),
    }
}

/// Owners and standbys.
struct Nodes(Vec<Channel>);

impl Nodes {
    /// The answer of the first that owns what is asked for.
    async fn ask<T>(
        &self,
        attempt: impl AsyncFn(&mut RoutingServiceClient<Channel>) -> Result<tonic::Response<T>, Status>,
    ) -> Result<T, Status> {
        let mut refused = Status::unavailable("no node of routing is named");
        for channel in &self.0 {
            match attempt(&mut RoutingServiceClient::new(channel.clone())).await {
                Ok(answer) => return Ok(answer.into_inner()),
                Err(status) if status.code() == Code::InvalidArgument => return Err(status),
                // A node that owns it and says no knows better than one that does not own it.
                Err(status) if refused.code() != Code::NotFound => refused = status,
                Err(_) => {}
            }
        }
        Err(refused)
    }
}

fn failure(attempted: &str, status: &Status) -> Failure {
    Failure::world(format!("could not {attempted}: {}", status.message()))
}

fn as_text(listed: &api::ListQueuesResponse, now: Timestamp) -> String {
    let rows = listed.queues.iter().map(|queue| {
        let longest = (queue.longest_waiting_since_ms != 0)
            .then(|| span(now.since(Timestamp(queue.longest_waiting_since_ms)).0));
        let expected =
            queue.expected_wait.as_ref().map(|it| format!("{} … {}", span(it.p50_ms), span(it.p95_ms)));
        vec![
            queue.queue_id.clone(),
            queue.company_id.clone(),
            queue.waiting_count.to_string(),
            queue.offered_count.to_string(),
            longest.unwrap_or_default(),
            queue.ready_agent_count.to_string(),
            expected.unwrap_or_default(),
        ]
    });
    let rows: Vec<Vec<String>> = rows.collect();
    let waiting: u32 = listed.queues.iter().map(|queue| queue.waiting_count).sum();
    let mut text = table::render(
        &["queue", "company", "waiting", "offered", "longest", "free agents", "who comes now waits"],
        &rows,
    );
    text.push_str(&format!("{waiting} wait in {} queues\n", listed.queues.len()));
    text
}

fn as_json(listed: &api::ListQueuesResponse) -> serde_json::Value {
    let queues = listed.queues.iter().map(|queue| {
        let waiting = queue.waiting.iter().map(|it| {
            json!({
                "contact_id": it.contact_id,
                "enqueued_at_ms": it.enqueued_at_ms,
                "offer_id": it.offer_id,
                "round_count": it.round_count,
            })
        });
        json!({
            "queue_id": queue.queue_id,
            "company_id": queue.company_id,
            "name": queue.name,
            "waiting_count": queue.waiting_count,
            "offered_count": queue.offered_count,
            "longest_waiting_since_ms": queue.longest_waiting_since_ms,
            "ready_agent_count": queue.ready_agent_count,
            "expected_wait": queue.expected_wait.as_ref().map(wait_as_json),
            "waiting": waiting.collect::<Vec<_>>(),
        })
    });
    json!({ "queues": queues.collect::<Vec<_>>() })
}

fn wait_as_json(wait: &api::ExpectedWait) -> serde_json::Value {
    json!({ "p50_ms": wait.p50_ms, "p80_ms": wait.p80_ms, "p95_ms": wait.p95_ms })
}

fn explained_as_text(it: &api::ExplainContactResponse, now: Timestamp) -> String {
    let needs =
        if it.required_skills.is_empty() { "no skill".to_owned() } else { it.required_skills.join(" and ") };
    let staffing = it.staffing.unwrap_or_default();
    let mut text = format!(
        "{} waits in {} for {}, place {}, priority {}\n\
         needs {needs}, selected by {}; {} steps of its plan have begun\n\
         {}: {} can serve it, of whom {} are free, {} busy, {} not ready, {} without a telephone\n",
        it.contact_id,
        it.queue_id,
        span(now.since(Timestamp(it.enqueued_at_ms)).0),
        it.place,
        it.priority,
        it.strategy,
        it.step,
        it.reason.replace('_', " "),
        staffing.able_count,
        staffing.available_count,
        staffing.busy_count,
        staffing.not_ready_count,
        staffing.no_device_count,
    );
    for skill_id in &it.nobody_has {
        text.push_str(&format!("nobody has {skill_id}\n"));
    }
    for release in &it.releases {
        text.push_str(&format!("released when {release}\n"));
    }
    for candidate in &it.candidates {
        text.push_str(&format!("not {}: {}\n", candidate.agent_id, candidate.reason));
    }
    if let Some(wait) = &it.expected_wait {
        let (p50, p80, p95) = (span(wait.p50_ms), span(wait.p80_ms), span(wait.p95_ms));
        text.push_str(&format!("will wait {p50} (p50), {p80} (p80), {p95} (p95) more\n"));
    }
    text
}

fn explained_as_json(it: &api::ExplainContactResponse) -> serde_json::Value {
    let staffing = it.staffing.unwrap_or_default();
    let candidates = it.candidates.iter().map(|it| json!({ "agent_id": it.agent_id, "reason": it.reason }));
    json!({
        "contact_id": it.contact_id,
        "company_id": it.company_id,
        "queue_id": it.queue_id,
        "visit": it.visit,
        "enqueued_at_ms": it.enqueued_at_ms,
        "queued_at_ms": it.queued_at_ms,
        "place": it.place,
        "priority": it.priority,
        "step": it.step,
        "required_skills": it.required_skills,
        "strategy": it.strategy,
        "round_count": it.round_count,
        "reason": it.reason,
        "releases": it.releases,
        "staffing": {
            "able_count": staffing.able_count,
            "available_count": staffing.available_count,
            "no_device_count": staffing.no_device_count,
            "busy_count": staffing.busy_count,
            "not_ready_count": staffing.not_ready_count,
        },
        "candidates": candidates.collect::<Vec<_>>(),
        "nobody_has": it.nobody_has,
        "expected_wait": it.expected_wait.as_ref().map(wait_as_json),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_says_who_waits_where_and_what_is_to_be_expected() {
        let queue = |id: &str, waiting_count, expected_wait| api::QueueView {
            queue_id: id.to_owned(),
            company_id: "cmp_aurora".to_owned(),
            waiting_count,
            offered_count: waiting_count.min(1),
            longest_waiting_since_ms: if waiting_count == 0 { 0 } else { 10_000 },
            ready_agent_count: 2,
            expected_wait,
            ..api::QueueView::default()
        };
        let wait = api::ExpectedWait { p50_ms: 20_000, p80_ms: 40_000, p95_ms: 75_000 };
        let listed = api::ListQueuesResponse {
            queues: vec![queue("que_aurora", 3, Some(wait)), queue("que_rest", 0, None)],
        };
        assert_eq!(
            as_text(&listed, Timestamp(100_000)),
            "queue       company     waiting  offered  longest  free agents  who comes now waits\n\
             que_aurora  cmp_aurora        3        1  1:30               2  20 s … 1:15\n\
             que_rest    cmp_aurora        0        0                     2\n\
             3 wait in 2 queues\n"
        );
    }

    #[test]
    fn why_a_contact_waits_is_said_in_sentences() {
        let it = api::ExplainContactResponse {
            contact_id: "ctc_1".to_owned(),
            queue_id: "que_aurora".to_owned(),
            enqueued_at_ms: 10_000,
            place: 2,
            required_skills: vec!["skl_german >= 5".to_owned()],
            strategy: "longest_idle".to_owned(),
            reason: "all_busy".to_owned(),
            releases: vec!["one of 1 who can serve it becomes free".to_owned()],
            staffing: Some(api::Staffing { able_count: 1, busy_count: 1, ..api::Staffing::default() }),
            candidates: vec![api::Candidate { agent_id: "agt_anna".to_owned(), reason: "busy".to_owned() }],
            expected_wait: Some(api::ExpectedWait { p50_ms: 20_000, p80_ms: 40_000, p95_ms: 75_000 }),
            ..api::ExplainContactResponse::default()
        };
        assert_eq!(
            explained_as_text(&it, Timestamp(100_000)),
            "ctc_1 waits in que_aurora for 1:30, place 2, priority 0\n\
             needs skl_german >= 5, selected by longest_idle; 0 steps of its plan have begun\n\
             all busy: 1 can serve it, of whom 0 are free, 1 busy, 0 not ready, 0 without a telephone\n\
             released when one of 1 who can serve it becomes free\n\
             not agt_anna: busy\n\
             will wait 20 s (p50), 40 s (p80), 1:15 (p95) more\n"
        );
    }
}
