//! The rules of the schemas, walked over the compiled descriptor. What `buf lint` can check stands in `buf.yaml`; these
//! are the rules it does not know, and the few that must hold even where buf is not installed.

#![allow(clippy::unwrap_used, reason = "a test may unwrap, also in what its cases share")]

use std::collections::{BTreeMap, BTreeSet};

use prost_reflect::{
    DescriptorPool, EnumDescriptor, FieldDescriptor, FileDescriptor, Kind, MessageDescriptor,
};

/// A number that is neither time nor money nor a count is one of these: the whole name, or its last word.
const PLAIN_NUMBERS: &[(&str, &str)] = &[
    ("cell", "a partition number"),
    ("epoch", "a fence: a Raft index"),
    ("index", "a Raft index"),
    ("level", "of rules: an ordinal"),
    ("minute", "minutes after local midnight"),
    ("node_id", "a voter, as the consensus library numbers it"),
    ("number", "a place in a series, a line or a column"),
    ("place", "an ordinal"),
    ("position", "a record's place in its partition"),
    ("priority", "an order, signed"),
    ("revision", "an ordinal"),
    ("round", "an ordinal"),
    ("sequence", "an ordinal"),
    ("sip_status", "a code of RFC 3261"),
    ("size", "how many are wanted in a page"),
    ("step", "an ordinal"),
    ("term", "of Raft"),
    ("tier", "an order"),
    ("token", "a fence: a Raft index"),
    ("version", "an ordinal"),
    ("visit", "an ordinal"),
    ("weekday", "ISO 8601"),
];

/// A text field with one of these words in its name needs a sensitivity.
const SENSITIVE_WORDS: &[&str] = &[
    "address", "author", "caller", "dialled", "email", "ha1", "md5", "name", "number", "password", "phone",
    "sha256", "uri", "user",
];

/// Text fields that have such a word and are not sensitive, and why.
const NOT_SENSITIVE: &[(&str, &str)] = &[
    ("trunkline.agents.v1.LeaseGranted.address", "where a process of ours answers"),
    ("trunkline.agent_state.v1.AcquireLeaseRequest.address", "where a process of ours answers"),
    ("trunkline.agent_state.v1.AddVoterRequest.address", "where a process of ours answers"),
    ("trunkline.agent_state.v1.RaftMember.address", "where a process of ours answers"),
    ("trunkline.agent_state.v1.TransferLeadershipResponse.address", "where a process of ours answers"),
    ("trunkline.billing.v1.GetRunningInvoiceResponse.company_name", "a company, not a person"),
    ("trunkline.contacts.v1.ContactArrived.dialled", "a client company's own number"),
    ("trunkline.directory.v1.ApiKey.name", "what the operator calls a key"),
    ("trunkline.directory.v1.ApplyDirectoryRequest.file_name", "a document of the operator's"),
    ("trunkline.directory.v1.Company.name", "a company, not a person"),
    ("trunkline.directory.v1.Number.number", "a client company's own number"),
    ("trunkline.directory.v1.Operator.name", "a company, not a person"),
    ("trunkline.directory.v1.PlanDirectoryRequest.file_name", "a document of the operator's"),
    ("trunkline.directory.v1.Problem.file_name", "a document of the operator's"),
    ("trunkline.directory.v1.Queue.name", "a queue, not a person"),
    ("trunkline.routing.v1.QueueView.name", "a queue, not a person"),
    ("trunkline.directory.v1.RevisionApplied.source_sha256", "of a document, not of a secret"),
    ("trunkline.directory.v1.Skill.name", "a skill, not a person"),
    ("trunkline.reporting.v1.ContactRecord.dialled", "a client company's own number"),
    ("trunkline.reporting.v1.FactLine.name", "of a fact"),
];

fn pool() -> DescriptorPool {
    DescriptorPool::decode(trunkline_proto::DESCRIPTOR).unwrap()
}

fn ours(file: &FileDescriptor) -> bool {
    file.package_name().starts_with("trunkline.")
}

fn files(pool: &DescriptorPool) -> Vec<FileDescriptor> {
    pool.files().filter(ours).collect()
}

fn messages(pool: &DescriptorPool) -> Vec<MessageDescriptor> {
    pool.all_messages().filter(|it| ours(&it.parent_file())).collect()
}

fn enums(pool: &DescriptorPool) -> Vec<EnumDescriptor> {
    pool.all_enums().filter(|it| ours(&it.parent_file())).collect()
}

fn fields(pool: &DescriptorPool) -> Vec<FieldDescriptor> {
    messages(pool).iter().flat_map(|it| it.fields().collect::<Vec<_>>()).collect()
}

/// One test's findings, told all at once.
#[derive(Default)]
struct Findings(Vec<String>);

impl Findings {
    fn check(&mut self, ok: bool, finding: impl FnOnce() -> String) {
        if !ok {
            self.0.push(finding());
        }
    }

    #[track_caller]
    fn none(self) {
        assert!(self.0.is_empty(), "{} findings:\n{}", self.0.len(), self.0.join("\n"));
    }
}

/// Whether the name is the word or ends with it, as in `contract_version`.
fn ends_with_word(name: &str, word: &str) -> bool {
    name.strip_suffix(word).is_some_and(|rest| rest.is_empty() || rest.ends_with('_'))
}

fn screaming(name: &str) -> String {
    let mut text = String::new();
    for (at, letter) in name.char_indices() {
        if letter.is_ascii_uppercase() && at > 0 {
            text.push('_');
        }
        text.push(letter.to_ascii_uppercase());
    }
    text
}

#[test]
fn a_package_is_its_directory_and_files_are_one_noun() {
    let mut findings = Findings::default();
    for file in files(&pool()) {
        let (folder, name) = file.name().rsplit_once('/').unwrap();
        let package = file.package_name();
        findings.check(folder.replace('/', ".") == package, || format!("{folder} holds package {package}"));
        findings.check(package.ends_with(".v1"), || format!("{package} has no version"));
        let stem = name.strip_suffix(".proto").unwrap();
        let snake = stem.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
        findings.check(snake && !stem.is_empty(), || format!("{name} is not snake_case.proto"));
    }
    findings.none();
}

#[test]
fn an_enum_begins_unspecified_and_its_values_carry_its_name() {
    let mut findings = Findings::default();
    for it in enums(&pool()) {
        let prefix = screaming(it.name());
        for value in it.values() {
            let expected =
                if value.number() == 0 { value.name() == format!("{prefix}_UNSPECIFIED") } else { true };
            findings.check(expected, || format!("{} = 0 is not {prefix}_UNSPECIFIED", value.full_name()));
            let prefixed = value.name().starts_with(&format!("{prefix}_"));
            findings.check(prefixed, || format!("{} does not begin with {prefix}_", value.full_name()));
        }
        findings.check(it.get_value(0).is_some(), || format!("{} has no zero", it.full_name()));
    }
    findings.none();
}

/// Signed 64-bit is time (`_ms`) or money (`_micros`); unsigned is a count (`_count`, `_count_max`) or one of
/// `PLAIN_NUMBERS`; there are no floats, and no other unit of time.
#[test]
fn a_number_says_its_unit() {
    let mut findings = Findings::default();
    let ends = |name: &str, units: &[&str]| {
        let name = name.strip_suffix("_max").or_else(|| name.strip_suffix("_min")).unwrap_or(name);
        units.iter().any(|unit| name.ends_with(unit))
    };
    for field in fields(&pool()) {
        let (name, full) = (field.name(), field.full_name());
        match field.kind() {
            Kind::Int64 => findings.check(ends(name, &["_ms", "_micros"]), || {
                format!("{full} is a signed 64-bit number: it must be a time in _ms or money in _micros")
            }),
            Kind::Uint64 | Kind::Uint32 | Kind::Int32 => {
                let plain = PLAIN_NUMBERS.iter().any(|(word, _)| ends_with_word(name, word));
                findings.check(plain || ends(name, &["_count"]), || {
                    format!("{full} is a number: it must be a _count, or of a kind in PLAIN_NUMBERS")
                });
                findings.check(!ends(name, &["_ms", "_micros"]), || format!("{full} must be int64"));
            }
            Kind::Float | Kind::Double => findings.check(false, || format!("{full} is a float")),
            Kind::String | Kind::Bytes | Kind::Bool | Kind::Enum(_) | Kind::Message(_) => {
                findings.check(!name.ends_with("_at"), || format!("{full} is a time: int64 …_at_ms"));
            }
            other => findings.check(false, || format!("{full} has the unusual type {other:?}")),
        }
        let units = ["_seconds", "_secs", "_minutes", "_hours", "_millis", "_us", "_cents"];
        findings.check(!ends(name, &units), || format!("{full}: time is in _ms, money in _micros"));
        findings.check(!name.contains("_at") || !name.ends_with("_at"), || {
            format!("{full} ends in _at without _ms")
        });
    }
    findings.none();
}

#[test]
fn a_boolean_is_an_adjective_or_a_participle() {
    let mut findings = Findings::default();
    for field in fields(&pool()).into_iter().filter(|it| matches!(it.kind(), Kind::Bool)) {
        let bad =
            ["is_", "has_", "was_", "can_", "should_", "not_"].iter().any(|it| field.name().starts_with(it));
        findings.check(!bad, || format!("{} begins like a question", field.full_name()));
    }
    findings.none();
}

#[test]
fn everything_has_a_comment() {
    let pool = pool();
    let mut comments: BTreeMap<(String, Vec<i32>), String> = BTreeMap::new();
    for file in files(&pool) {
        for location in &file.file_descriptor_proto().source_code_info.as_ref().unwrap().location {
            let text = location.leading_comments().trim().to_owned();
            comments.insert((file.name().to_owned(), location.path.clone()), text);
        }
    }
    let mut findings = Findings::default();
    let mut check = |file: FileDescriptor, path: &[i32], name: &str| {
        let text = comments.get(&(file.name().to_owned(), path.to_vec())).map_or("", String::as_str);
        findings.check(!text.is_empty(), || format!("{name} has no comment"));
        findings.check(text.is_empty() || text.ends_with(['.', ')']), || {
            format!("{name}: a comment is a sentence")
        });
    };
    for message in messages(&pool) {
        check(message.parent_file(), message.path(), message.full_name());
        for field in message.fields() {
            check(field.parent_file(), field.path(), field.full_name());
        }
        for oneof in message.oneofs().filter(|it| !it.is_synthetic()) {
            check(oneof.parent_file(), oneof.path(), oneof.full_name());
        }
    }
    for it in enums(&pool) {
        check(it.parent_file(), it.path(), it.full_name());
        it.values().for_each(|value| check(value.parent_file(), value.path(), value.full_name()));
    }
    for it in pool.services().filter(|it| ours(&it.parent_file())) {
        check(it.parent_file(), it.path(), it.full_name());
        it.methods().for_each(|rpc| check(rpc.parent_file(), rpc.path(), rpc.full_name()));
    }
    for it in pool.all_extensions().filter(|it| ours(&it.parent_file())) {
        check(it.parent_file(), it.path(), it.full_name());
    }
    findings.none();
}

#[test]
fn every_rpc_has_a_request_and_a_response_of_its_own() {
    let mut findings = Findings::default();
    let mut used = BTreeSet::new();
    for service in pool().services().filter(|it| ours(&it.parent_file())) {
        findings
            .check(service.name().ends_with("Service"), || format!("{} is no …Service", service.full_name()));
        for rpc in service.methods() {
            for (message, suffix) in [(rpc.input(), "Request"), (rpc.output(), "Response")] {
                let expected = format!("{}.{}{suffix}", service.package_name(), rpc.name());
                let found = message.full_name().to_owned();
                findings.check(found == expected, || format!("{} uses {found}", rpc.full_name()));
                findings.check(used.insert(found.clone()), || format!("{found} is used twice"));
            }
        }
    }
    findings.none();
}

/// Two commands that change the same state and are retried must be told apart by what they carry, so every request of
/// agent-state that is not a query names its command.
#[test]
fn every_command_of_agent_state_carries_a_command_id() {
    let service = pool().get_service_by_name("trunkline.agent_state.v1.AgentStateService").unwrap();
    let mut findings = Findings::default();
    let asks = |name: &str| ["List", "Get", "Watch"].iter().any(|verb| name.starts_with(verb));
    for rpc in service.methods().filter(|it| !asks(it.name())) {
        let first = rpc.input().get_field(1);
        findings.check(first.is_some_and(|it| it.name() == "command_id"), || {
            format!("field 1 of {} is not command_id", rpc.input().full_name())
        });
    }
    findings.none();
}

#[test]
fn what_may_be_personal_or_secret_says_so() {
    let pool = pool();
    let sensitivity = pool.get_extension_by_name("trunkline.common.v1.sensitivity").unwrap();
    let mut findings = Findings::default();
    let mut excused = BTreeSet::new();
    for field in fields(&pool).into_iter().filter(|it| matches!(it.kind(), Kind::String)) {
        let full = field.full_name();
        let level = field.options().get_extension(&sensitivity).as_enum_number().unwrap();
        let suspicious = field.name().split('_').any(|word| SENSITIVE_WORDS.contains(&word));
        match NOT_SENSITIVE.iter().find(|(name, _)| *name == full) {
            Some((name, _)) => {
                excused.insert(*name);
                findings.check(level == 0 && suspicious, || format!("{full} needs no excuse"));
            }
            None => findings.check(!suspicious || level != 0, || {
                format!("{full} needs a sensitivity, or a reason in NOT_SENSITIVE")
            }),
        }
        let secret = ["ha1", "password"].iter().any(|it| field.name().split('_').any(|word| word == *it))
            || field.name() == "key_sha256";
        findings.check(!secret || level == 2, || format!("{full} is a secret"));
    }
    for (name, reason) in NOT_SENSITIVE {
        findings.check(excused.contains(name), || format!("{name} ({reason}) is excused and does not exist"));
    }
    findings.none();
}

#[test]
fn a_retired_number_or_name_is_never_used_again() {
    let mut findings = Findings::default();
    for message in messages(&pool()) {
        let names: Vec<String> = message.reserved_names().map(str::to_owned).collect();
        for field in message.fields() {
            let number = message.reserved_ranges().any(|range| range.contains(&field.number()));
            findings.check(!number && !names.contains(&field.name().to_owned()), || {
                format!("{} uses a reserved number or name", field.full_name())
            });
        }
    }
    for it in enums(&pool()) {
        for value in it.values() {
            let number = it.reserved_ranges().any(|range| range.contains(&value.number()));
            findings.check(!number, || format!("{} uses a reserved number", value.full_name()));
        }
        let mut numbers = BTreeSet::new();
        let unique = it.values().all(|value| numbers.insert(value.number()));
        findings.check(unique, || format!("{} has two names for one number", it.full_name()));
    }
    findings.none();
}

/// Everything in `frozen/trunkline.binpb` is still there under the same number, name and type, or reserved by both
/// number and name. `buf breaking` checks more; this holds where buf is not installed.
#[test]
fn what_was_frozen_still_stands() {
    let frozen = DescriptorPool::decode(&include_bytes!("../frozen/trunkline.binpb")[..]).unwrap();
    let now = pool();
    let mut findings = Findings::default();
    for old in messages(&frozen) {
        let name = old.full_name();
        let Some(new) = now.get_message_by_name(name) else {
            findings.check(false, || format!("{name} is gone"));
            continue;
        };
        for field in old.fields() {
            let kept = match new.get_field(field.number()) {
                Some(it) => {
                    it.name() == field.name()
                        && format!("{:?}", it.kind()) == format!("{:?}", field.kind())
                        && it.cardinality() == field.cardinality()
                }
                None => {
                    new.reserved_ranges().any(|range| range.contains(&field.number()))
                        && new.reserved_names().any(|it| it == field.name())
                }
            };
            findings.check(kept, || format!("{} is neither as it was nor reserved", field.full_name()));
        }
    }
    for old in enums(&frozen) {
        let name = old.full_name();
        for value in old.values() {
            let new = now.get_enum_by_name(name).and_then(|it| it.get_value(value.number()));
            let kept = new.is_some_and(|it| it.name() == value.name());
            findings.check(kept, || format!("{} is not as it was", value.full_name()));
        }
    }
    for old in frozen.services().filter(|it| ours(&it.parent_file())) {
        let new = now.get_service_by_name(old.full_name());
        for rpc in old.methods() {
            let kept =
                new.as_ref().is_some_and(|it| it.methods().any(|it| it.full_name() == rpc.full_name()));
            findings.check(kept, || format!("{} is gone", rpc.full_name()));
        }
    }
    findings.none();
}
