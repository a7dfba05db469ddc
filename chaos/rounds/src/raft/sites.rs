//! A site of three is cut off: its voters are a minority, whoever of them leads.
//!
//! Those elsewhere go on, within the time of a failover. Those cut off must say that there is no quorum, and soon: whoever
//! asks them is to turn to another site. They may tell what they know, and that it is old.

use std::time::{Duration, Instant};

use serde_json::json;
use tonic::transport::Channel;
use trunkline_loadtest::Failure;
use trunkline_loadtest::rig::Place;
use trunkline_proto::agent_state::v1 as api;
use trunkline_proto::agent_state::v1::agent_state_service_client::AgentStateServiceClient;
use trunkline_runtime::grpc::{channel, reason_of};

use super::deeds::Struck;
use super::netns::Cut;
use super::stage::Stage;

/// Two and two and one.
pub const VOTER_COUNT_MIN: usize = 5;
const SITES: [&str; 3] = ["north", "south", "west"];
/// As long after the cut a minority may not know yet that it is one: its leader waits for two election time-outs of 500 ms, and
/// who follows that leader misses it after two more.
const NOTICED_WITHIN: Duration = Duration::from_millis(2_500);
/// From then on an answer takes no longer than this.
const SAID_WITHIN: Duration = Duration::from_millis(500);
/// The pause between two questions.
const ASKED_EVERY: Duration = Duration::from_millis(100);
const NO_QUORUM: &str = "NO_QUORUM";

/// Each place at a site, in turns: no site has a majority.
pub fn spread(mut places: Vec<Place>) -> Vec<Place> {
    for (nth, place) in places.iter_mut().enumerate() {
        place.settings.push(format!("agent_state.site={}", SITES[nth % SITES.len()]));
    }
    places
}

/// Cuts one site off for a while.
///
/// # Errors
/// When the others do not recover, or those cut off answer otherwise than they must.
pub async fn lose(stage: &mut Stage) -> Struck {
    let leader = stage.leader().await?;
    let count = stage.voters.processes.len();
    let leader_at = stage.voters.processes.iter().position(|it| it.name == leader.name).unwrap_or_default();
    let site = match stage.once_in(2) {
        true => leader_at % SITES.len(),
        false => stage.chance.below(SITES.len() as u64) as usize,
    };
    let (lost, rest): (Vec<usize>, Vec<usize>) = (0..count).partition(|nth| nth % SITES.len() == site);
    let kind = match (lost.contains(&leader_at), lost.len()) {
        (true, 1) => "the leader's site, of one voter",
        (true, _) => "the leader's site, of more voters",
        (false, 1) => "another site, of one voter",
        (false, _) => "another site, of more voters",
    };
    if stage.notes.is_empty() {
        let status = stage.status().await?;
        if status["outlives_any_site"] != json!(true) {
            return Err(Failure::new(format!("the voters do not outlive the loss of any site: {status}")));
        }
        stage.notes.push(json!({"sites": status["sites"]}));
    }
    let pairs = lost.iter().flat_map(|from| rest.iter().map(move |to| (*from, *to)));
    let cuts: Vec<_> =
        pairs.flat_map(|(one, other)| [Cut { from: one, to: other }, Cut { from: other, to: one }]).collect();
    let span = NOTICED_WITHIN + stage.span();
    cuts.iter().try_for_each(|cut| cut.begin())?;
    // What was granted between two cuts was granted by a majority that was still there.
    let (at, began) = (stage.load.now(), Instant::now());
    let asked = lost.iter().map(|nth| ask(&stage.voters.processes[*nth].grpc, began, began + span));
    let (recovered, asked) = tokio::join!(stage.recovered(), futures::future::join_all(asked));
    cuts.iter().try_for_each(|cut| cut.end())?;
    recovered?;
    let asked = asked.into_iter().collect::<Result<Vec<_>, _>>()?;
    let slowest = |pick: fn(&Asked) -> Duration| asked.iter().map(pick).max().unwrap_or_default().as_micros();
    stage.notes.push(json!({
        "site": SITES[site], "what": kind, "no_quorum_count": asked.iter().map(|it| it.count).sum::<u64>(),
        "noticed_us": slowest(|it| it.noticed) as u64, "slowest_us": slowest(|it| it.slowest) as u64,
    }));
    Ok((at, kind))
}

/// What one that is cut off answered.
#[derive(Debug, Default)]
struct Asked {
    /// How often it said that there is no quorum.
    count: u64,
    /// From the cut until it first did.
    noticed: Duration,
    /// The longest it took for it, once it had noticed.
    slowest: Duration,
}

/// Asks one that was cut off when it `began`, again and again.
async fn ask(address: &str, began: Instant, until: Instant) -> Result<Asked, Failure> {
    let mut client = AgentStateServiceClient::new(channel(address));
    let mut asked = Asked::default();
    while Instant::now() < until {
        let from = Instant::now();
        // A command that changes nothing, wherever it is decided.
        let request = api::GoReadyRequest {
            command_id: "cmd_nobody".to_owned(),
            agent_id: "agt_nobody".to_owned(),
            ..Default::default()
        };
        let answer = client.go_ready(request).await;
        let (took, after) = (from.elapsed(), from.duration_since(began));
        let reason = answer.as_ref().err().and_then(reason_of).unwrap_or("none").to_owned();
        let failed = |what: &str| {
            Failure::new(format!("{address}, cut off for {after:?}, {what} after {took:?}: {answer:?}"))
        };
        if reason == NO_QUORUM {
            if asked.count == 0 {
                asked.noticed = began.elapsed();
            }
            asked.count += 1;
        }
        if after >= NOTICED_WITHIN {
            if reason != NO_QUORUM {
                return Err(failed("does not say that there is no quorum"));
            }
            if took > SAID_WITHIN {
                return Err(failed("says so too late"));
            }
            asked.slowest = asked.slowest.max(took);
            read(&mut client, address).await?;
        }
        tokio::time::sleep(ASKED_EVERY).await;
    }
    Ok(asked)
}

/// What is known is told as old, or not at all.
async fn read(client: &mut AgentStateServiceClient<Channel>, address: &str) -> Result<(), Failure> {
    for stale_ok in [false, true] {
        let answer = client.list_agents(api::ListAgentsRequest { stale_ok }).await;
        let good = match &answer {
            Ok(listed) => stale_ok && listed.get_ref().stale,
            Err(status) => !stale_ok && reason_of(status) == Some(NO_QUORUM),
        };
        if !good {
            let said = answer.map(|listed| (listed.get_ref().stale, listed.get_ref().raft_index));
            return Err(Failure::new(format!(
                "{address}, cut off, answers a read (stale_ok: {stale_ok}) with {said:?}"
            )));
        }
    }
    Ok(())
}
