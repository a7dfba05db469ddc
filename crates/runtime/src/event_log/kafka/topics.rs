//! Making the topics, and saying in words what is wrong with them.

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, Instant};

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::error::RDKafkaErrorCode as Code;
use rdkafka::metadata::Metadata;
use trunkline_domain::vocabulary::LogName;

use super::client::{Asker, Voice, client_error};
use super::{KafkaOpenError, KafkaOptions, identity};

/// How topics are made, and what an operator expects of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TopicShape {
    /// Replicas of each partition.
    pub replication_factor: u32,
    /// How many of them must have a record before it is acknowledged.
    pub min_insync_replicas: u32,
    /// How long records are kept; `None` is for ever. What is deleted here can be rebuilt from nowhere.
    pub retention: Option<Duration>,
}

impl Default for TopicShape {
    /// Three replicas, two of which must be in sync, kept for ever.
    fn default() -> Self {
        Self { replication_factor: 3, min_insync_replicas: 2, retention: None }
    }
}

/// Something about a topic that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// `true` when the log must not be opened on it; else it works, with less than was promised.
    pub grave: bool,
    /// The topic.
    pub topic: String,
    /// What is wrong and, where it can be told, what to do about it.
    pub words: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.topic, self.words)
    }
}

/// Findings as one sentence, gravest first.
pub fn sentence(findings: &[Finding]) -> String {
    let mut sorted: Vec<_> = findings.iter().collect();
    sorted.sort_by_key(|finding| !finding.grave);
    sorted.into_iter().map(Finding::to_string).collect::<Vec<_>>().join("; ")
}

/// A topic as the brokers describe it.
#[derive(Debug, Clone, Default)]
struct Found {
    partitions: usize,
    /// Of the partition that has the fewest.
    replicas: usize,
    config: BTreeMap<String, String>,
}

/// Makes the topics that are missing, claims them for the cluster of the options, and checks all of them.
/// Topics that are there stay as they are.
///
/// # Errors
/// When the brokers cannot be reached or refuse, or the topics belong to another cluster.
pub async fn create(options: &KafkaOptions, shape: &TopicShape) -> Result<Vec<Finding>, KafkaOpenError> {
    options.check()?;
    let asker = Asker::new(options)?;
    let there = asker.metadata(options).await?;
    let wanted = topics(options);
    let missing: Vec<_> =
        wanted.iter().filter(|(name, _)| there.topics().iter().all(|topic| topic.name() != name)).collect();
    if !missing.is_empty() {
        make(options, shape, &missing).await?;
        settle(options, &asker, &wanted).await?;
    }
    identity::claim(options, &asker).await?;
    examine(options, &asker, Some(shape)).await
}

/// Says what is wrong with the topics; nothing when they are as they should be.
///
/// # Errors
/// When the brokers cannot be reached or refuse, or the topics belong to another cluster or to none.
pub async fn check(options: &KafkaOptions, shape: &TopicShape) -> Result<Vec<Finding>, KafkaOpenError> {
    options.check()?;
    let asker = Asker::new(options)?;
    let findings = examine(options, &asker, Some(shape)).await?;
    let identity_topic = options.identity_topic();
    if !findings.iter().any(|finding| finding.grave && finding.topic == identity_topic) {
        identity::verify(options, &asker).await?;
    }
    Ok(findings)
}

/// The name of every topic, with its partitions.
fn topics(options: &KafkaOptions) -> Vec<(String, u32)> {
    let logs = LogName::ALL.into_iter().map(|log| (options.topic(log), options.cells));
    logs.chain([(options.identity_topic(), 1)]).collect()
}

async fn make(
    options: &KafkaOptions,
    shape: &TopicShape,
    missing: &[&(String, u32)],
) -> Result<(), KafkaOpenError> {
    let client = admin(options)?;
    let batch = options.batch_bytes_max().to_string();
    let min_insync = shape.min_insync_replicas.to_string();
    let retention = shape.retention.map_or_else(|| "-1".to_owned(), |kept| kept.as_millis().to_string());
    let identity_topic = options.identity_topic();
    let new: Vec<_> = missing
        .iter()
        .map(|(name, partitions)| {
            let replicas =
                TopicReplication::Fixed(i32::try_from(shape.replication_factor).unwrap_or(i32::MAX));
            let kept = if *name == identity_topic { "-1" } else { &retention };
            NewTopic::new(name, i32::try_from(*partitions).unwrap_or(i32::MAX), replicas)
                .set("cleanup.policy", "delete")
                .set("min.insync.replicas", &min_insync)
                .set("max.message.bytes", &batch)
                .set("retention.ms", kept)
                .set("retention.bytes", "-1")
                .set("unclean.leader.election.enable", "false")
        })
        .collect();
    let made = client.create_topics(&new, &admin_options(options)).await.map_err(client_error)?;
    for outcome in made {
        match outcome {
            // Somebody else makes them too.
            Ok(_) | Err((_, Code::TopicAlreadyExists)) => {}
            Err((topic, code)) => {
                let reason = format!("could not create topic {topic}: {code}");
                return Err(KafkaOpenError::Client { reason });
            }
        }
    }
    Ok(())
}

/// Waits until the brokers show all topics with a leader for each partition.
async fn settle(
    options: &KafkaOptions,
    asker: &Asker,
    wanted: &[(String, u32)],
) -> Result<(), KafkaOpenError> {
    let until = Instant::now() + options.answer_deadline;
    loop {
        let there = asker.metadata(options).await?;
        let led = |name: &str| {
            let topic = there.topics().iter().find(|topic| topic.name() == name);
            topic.is_some_and(|topic| topic.partitions().iter().all(|partition| partition.leader() >= 0))
        };
        let Some((waits, _)) = wanted.iter().find(|(name, _)| !led(name)) else { return Ok(()) };
        if Instant::now() > until {
            let reason = format!("topic {waits} was created and has no leader yet");
            return Err(KafkaOpenError::Client { reason });
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// What is wrong with the topics; what an operator expects beyond the necessary is looked at when `shape` is given.
pub async fn examine(
    options: &KafkaOptions,
    asker: &Asker,
    shape: Option<&TopicShape>,
) -> Result<Vec<Finding>, KafkaOpenError> {
    let found = describe(options, &asker.metadata(options).await?).await?;
    let mut findings = Vec::new();
    for (name, partitions) in topics(options) {
        let Some(found) = found.get(&name) else {
            findings.push(Finding { grave: true, topic: name, words: "is missing".to_owned() });
            continue;
        };
        let mut say = |grave, words: String| findings.push(Finding { grave, topic: name.clone(), words });
        necessities(options, partitions as usize, found, &mut say);
        if let Some(shape) = shape {
            expectations(shape, found, &mut say);
        }
    }
    findings.sort_by_key(|finding| !finding.grave);
    Ok(findings)
}

/// Without these the log would not be one.
fn necessities(options: &KafkaOptions, partitions: usize, found: &Found, say: &mut impl FnMut(bool, String)) {
    if found.partitions < partitions {
        say(
            true,
            format!("has {} partitions, fewer than the {partitions} it needs; add some", found.partitions),
        );
    }
    if found.partitions > partitions {
        let more = "so records of cells that are not served may stand in it; name as many cells";
        say(
            true,
            format!("has {} partitions, more than the {partitions} expected, {more}", found.partitions),
        );
    }
    if let Some(policy) = found.config.get("cleanup.policy").filter(|policy| *policy != "delete") {
        say(true, format!("has cleanup.policy {policy}: compaction removes records; set delete"));
    }
    let batch = options.batch_bytes_max();
    if let Some(bytes) = found.number("max.message.bytes").filter(|bytes| (*bytes as usize) < batch) {
        say(
            true,
            format!("has max.message.bytes {bytes}, less than the {batch} that a full batch has; raise it"),
        );
    }
    if let Some(min) = found.number("min.insync.replicas").filter(|min| *min > found.replicas as i64) {
        let replicas = found.replicas;
        say(true, format!("has min.insync.replicas {min} and {replicas} replicas: nothing can be written"));
    }
}

/// What an operator asked for.
fn expectations(shape: &TopicShape, found: &Found, say: &mut impl FnMut(bool, String)) {
    let (replicas, wanted) = (found.replicas, shape.replication_factor);
    if (replicas as u64) < u64::from(wanted) {
        say(false, format!("has {replicas} replicas, fewer than the {wanted} expected"));
    }
    let wanted = i64::from(shape.min_insync_replicas);
    if let Some(min) = found.number("min.insync.replicas").filter(|min| *min < wanted) {
        say(false, format!("has min.insync.replicas {min}, less than the {wanted} expected"));
    }
    if found.config.get("unclean.leader.election.enable").is_some_and(|enabled| enabled == "true") {
        say(false, "has unclean.leader.election.enable: a leader may lose what was acknowledged".to_owned());
    }
    let wanted = shape.retention.map_or(i64::MAX, |kept| i64::try_from(kept.as_millis()).unwrap_or(i64::MAX));
    if let Some(kept) = found.number("retention.ms").filter(|kept| (0..wanted).contains(kept)) {
        say(false, format!("has retention.ms {kept}: records are deleted earlier than expected"));
    }
    if let Some(kept) = found.number("retention.bytes").filter(|kept| *kept >= 0) {
        say(false, format!("has retention.bytes {kept}: records are deleted by size"));
    }
}

impl Found {
    fn number(&self, name: &str) -> Option<i64> {
        self.config.get(name)?.parse().ok()
    }
}

/// Every topic of ours that is there.
async fn describe(
    options: &KafkaOptions,
    metadata: &Metadata,
) -> Result<BTreeMap<String, Found>, KafkaOpenError> {
    let names = topics(options);
    let mut found: BTreeMap<String, Found> = BTreeMap::new();
    for topic in metadata.topics() {
        if !names.iter().any(|(name, _)| name == topic.name()) {
            continue;
        }
        let replicas = topic.partitions().iter().map(|partition| partition.replicas().len()).min();
        let (partitions, replicas) = (topic.partitions().len(), replicas.unwrap_or(0));
        found.insert(topic.name().to_owned(), Found { partitions, replicas, config: BTreeMap::new() });
    }
    if found.is_empty() {
        return Ok(found);
    }
    let described: Vec<_> = found.keys().cloned().collect();
    let resources: Vec<_> = described.iter().map(|name| ResourceSpecifier::Topic(name)).collect();
    let answers = admin(options)?.describe_configs(&resources, &admin_options(options)).await;
    // The brokers answer in the order of the question.
    for (name, answer) in described.iter().zip(answers.map_err(client_error)?) {
        let resource = answer.map_err(|code| KafkaOpenError::Client {
            reason: format!("could not describe topic {name}: {code}"),
        })?;
        if let Some(found) = found.get_mut(name) {
            let entries = resource.entries.into_iter();
            found.config = entries.filter_map(|entry| Some((entry.name, entry.value?))).collect();
        }
    }
    Ok(found)
}

fn admin(options: &KafkaOptions) -> Result<AdminClient<Voice>, KafkaOpenError> {
    options.client().create_with_context(Voice::default()).map_err(client_error)
}

fn admin_options(options: &KafkaOptions) -> AdminOptions {
    AdminOptions::new()
        .request_timeout(Some(options.answer_deadline))
        .operation_timeout(Some(options.answer_deadline))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(partitions: usize, replicas: usize, config: &[(&str, &str)]) -> Found {
        let config = config.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Found { partitions, replicas, config }
    }

    #[track_caller]
    fn says(found: &Found, expected: &[(bool, &str)]) {
        let options = KafkaOptions::new("127.0.0.1:9092", "cluster", 4);
        let mut said = Vec::new();
        let mut say = |grave, words: String| said.push((grave, words));
        necessities(&options, 4, found, &mut say);
        expectations(&TopicShape::default(), found, &mut say);
        assert_eq!(said.len(), expected.len(), "{said:?}");
        for ((grave, words), (expected_grave, part)) in said.iter().zip(expected) {
            assert!(grave == expected_grave && words.contains(part), "{grave} {words}");
        }
    }

    #[test]
    fn a_topic_as_it_should_be_is_passed_over_in_silence() {
        let config = [
            ("cleanup.policy", "delete"),
            ("min.insync.replicas", "2"),
            ("max.message.bytes", "1114112"),
            ("retention.ms", "-1"),
            ("retention.bytes", "-1"),
            ("unclean.leader.election.enable", "false"),
        ];
        says(&found(4, 3, &config), &[]);
    }

    #[test]
    fn every_fault_of_a_topic_is_named() {
        says(&found(1, 3, &[]), &[(true, "has 1 partitions, fewer than the 4")]);
        says(&found(8, 3, &[]), &[(true, "has 8 partitions, more than the 4")]);
        says(&found(4, 3, &[("cleanup.policy", "compact,delete")]), &[(true, "compaction removes records")]);
        says(&found(4, 3, &[("max.message.bytes", "1048588")]), &[(true, "max.message.bytes 1048588")]);
        says(&found(4, 3, &[("min.insync.replicas", "4")]), &[(true, "nothing can be written")]);
        says(&found(4, 1, &[]), &[(false, "has 1 replicas, fewer than the 3")]);
        says(&found(4, 3, &[("min.insync.replicas", "1")]), &[(false, "less than the 2 expected")]);
        says(&found(4, 3, &[("unclean.leader.election.enable", "true")]), &[(false, "unclean")]);
        says(&found(4, 3, &[("retention.ms", "604800000")]), &[(false, "earlier than expected")]);
        says(&found(4, 3, &[("retention.bytes", "1")]), &[(false, "by size")]);
    }
}
