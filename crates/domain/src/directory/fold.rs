//! The fold of the directory log.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::versions::Table;
use crate::facts::{
    Agent, ApiKey, BlocklistEntry, Calendar, Company, Contract, DefinitionKind, DirectoryFact, Flow, Number,
    Operator, Queue, Recorded, Skill,
};
use crate::kernel::{Projection, StateHash, StateHasher};
use crate::vocabulary::{
    AgentId, CalendarId, CompanyId, ContractId, FlowId, PhoneNumber, QueueId, SkillId, Timestamp,
};

/// Everything ever defined, and what of it is in force at an instant.
///
/// Every question takes `at`: a definition counts from its revision's effective date until the next one of the same
/// key does. Contracts alone count from their own date, because a price may be agreed long before it applies.
#[derive(Clone, Default)]
pub struct Directory {
    revision: u64,
    effective_at: Timestamp,
    /// The revision whose definitions are being folded.
    folding: (Timestamp, u64),
    operators: Table<Operator>,
    companies: Table<Company>,
    skills: Table<Skill>,
    calendars: Table<Calendar>,
    queues: Table<Queue>,
    flows: Table<Flow>,
    numbers: Table<Number>,
    agents: Table<Agent>,
    api_keys: Table<ApiKey>,
    blocklist: Table<BlocklistEntry>,
    contracts: BTreeMap<ContractId, ContractHistory>,
    /// Every agent that ever had this SIP user.
    by_sip_user: BTreeMap<String, BTreeSet<AgentId>>,
}

/// Every version of a contract; a version never changes.
#[derive(Clone, Default, Debug)]
struct ContractHistory {
    versions: BTreeMap<u32, Contract>,
    retired_at: Option<Timestamp>,
}

impl ContractHistory {
    fn in_force(&self, at: Timestamp) -> Option<&Contract> {
        if self.retired_at.is_some_and(|retired_at| retired_at <= at) {
            return None;
        }
        self.versions.values().rev().find(|version| version.effective_at <= at)
    }
}

impl Directory {
    /// The last revision folded; zero before the first.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// From when the last revision counts; the epoch before the first.
    pub fn effective_at(&self) -> Timestamp {
        self.effective_at
    }

    /// When the configuration in force changes next after `at`, as far as is known.
    pub fn next_change_after(&self, at: Timestamp) -> Option<Timestamp> {
        let contracts = self.contracts.values().flat_map(|history| {
            history.versions.values().map(|version| version.effective_at).chain(history.retired_at)
        });
        [
            self.operators.next_change_after(at),
            self.companies.next_change_after(at),
            self.skills.next_change_after(at),
            self.calendars.next_change_after(at),
            self.queues.next_change_after(at),
            self.flows.next_change_after(at),
            self.numbers.next_change_after(at),
            self.agents.next_change_after(at),
            self.api_keys.next_change_after(at),
            self.blocklist.next_change_after(at),
            contracts.filter(|since| *since > at).min(),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// The operator.
    pub fn operator(&self, at: Timestamp) -> Option<&Operator> {
        self.operators.all(at).next()
    }

    /// A client company.
    pub fn company(&self, company_id: &CompanyId, at: Timestamp) -> Option<&Company> {
        self.companies.get(company_id.as_str(), at)
    }

    /// The client companies, by id.
    pub fn companies(&self, at: Timestamp) -> impl Iterator<Item = &Company> {
        self.companies.all(at)
    }

    /// A skill.
    pub fn skill(&self, skill_id: &SkillId, at: Timestamp) -> Option<&Skill> {
        self.skills.get(skill_id.as_str(), at)
    }

    /// The skills, by id.
    pub fn skills(&self, at: Timestamp) -> impl Iterator<Item = &Skill> {
        self.skills.all(at)
    }

    /// Business hours.
    pub fn calendar(&self, calendar_id: &CalendarId, at: Timestamp) -> Option<&Calendar> {
        self.calendars.get(calendar_id.as_str(), at)
    }

    /// All business hours, by id.
    pub fn calendars(&self, at: Timestamp) -> impl Iterator<Item = &Calendar> {
        self.calendars.all(at)
    }

    /// Whether a calendar is open. One that is not defined is closed: nobody said that anybody is there.
    pub fn open(&self, calendar_id: &CalendarId, at: Timestamp) -> bool {
        self.calendar(calendar_id, at).is_some_and(|calendar| calendar.open_at(at).unwrap_or(false))
    }

    /// A queue.
    pub fn queue(&self, queue_id: &QueueId, at: Timestamp) -> Option<&Queue> {
        self.queues.get(queue_id.as_str(), at)
    }

    /// The queues, by id.
    pub fn queues(&self, at: Timestamp) -> impl Iterator<Item = &Queue> {
        self.queues.all(at)
    }

    /// A flow.
    pub fn flow(&self, flow_id: &FlowId, at: Timestamp) -> Option<&Flow> {
        self.flows.get(flow_id.as_str(), at)
    }

    /// The flows, by id.
    pub fn flows(&self, at: Timestamp) -> impl Iterator<Item = &Flow> {
        self.flows.all(at)
    }

    /// Who owns a dialled number, and where its contacts begin.
    pub fn number(&self, number: &PhoneNumber, at: Timestamp) -> Option<&Number> {
        self.numbers.get(number.reveal(), at)
    }

    /// The dialled numbers, in order of their digits.
    pub fn numbers(&self, at: Timestamp) -> impl Iterator<Item = &Number> {
        self.numbers.all(at)
    }

    /// An agent.
    pub fn agent(&self, agent_id: &AgentId, at: Timestamp) -> Option<&Agent> {
        self.agents.get(agent_id.as_str(), at)
    }

    /// The agents, by id.
    pub fn agents(&self, at: Timestamp) -> impl Iterator<Item = &Agent> {
        self.agents.all(at)
    }

    /// The agent whose telephone registers as this SIP user.
    pub fn agent_by_sip_user(&self, sip_user: &str, at: Timestamp) -> Option<&Agent> {
        self.by_sip_user
            .get(sip_user)?
            .iter()
            .filter_map(|agent_id| self.agent(agent_id, at))
            .find(|agent| agent.sip_user == sip_user)
    }

    /// The contract versions that price work at an instant, by contract.
    pub fn contracts(&self, at: Timestamp) -> impl Iterator<Item = &Contract> {
        self.contracts.values().filter_map(move |history| history.in_force(at))
    }

    /// The contract versions that price one company's work at an instant, by contract; one a unit at most.
    pub fn contract_at(&self, company_id: &CompanyId, at: Timestamp) -> Vec<&Contract> {
        self.contracts(at).filter(|contract| contract.company_id == *company_id).collect()
    }

    /// One version of a contract, in force or not.
    pub fn contract_version(&self, contract_id: &ContractId, version: u32) -> Option<&Contract> {
        self.contracts.get(contract_id)?.versions.get(&version)
    }

    /// Every version of a contract that was ever defined, by version.
    pub fn contract_versions(&self, contract_id: &ContractId) -> impl Iterator<Item = &Contract> {
        self.contracts.get(contract_id).into_iter().flat_map(|history| history.versions.values())
    }

    /// Every contract that is not retired at an instant, whether or not a version of it is in force yet, by id.
    pub fn contract_ids(&self, at: Timestamp) -> impl Iterator<Item = &ContractId> {
        self.contracts
            .iter()
            .filter(move |(_, history)| history.retired_at.is_none_or(|retired_at| retired_at > at))
            .map(|(contract_id, _)| contract_id)
    }

    /// Since when a contract is retired.
    pub(super) fn contract_retired_at(&self, contract_id: &ContractId) -> Option<Timestamp> {
        self.contracts.get(contract_id)?.retired_at
    }

    /// Every contract ever defined, by id.
    pub(super) fn all_contract_ids(&self) -> impl Iterator<Item = &ContractId> {
        self.contracts.keys()
    }

    /// The API key with this SHA-256, in lower-case hex.
    pub fn api_key(&self, key_sha256: &str, at: Timestamp) -> Option<&ApiKey> {
        self.api_keys.all(at).find(|key| key.key_sha256 == key_sha256)
    }

    /// The API keys, by name.
    pub fn api_keys(&self, at: Timestamp) -> impl Iterator<Item = &ApiKey> {
        self.api_keys.all(at)
    }

    /// Whether a caller hears busy: blocked for everybody, or for the company called.
    pub fn blocked(&self, caller: &PhoneNumber, company_id: Option<&CompanyId>, at: Timestamp) -> bool {
        let for_everybody = self.blocklist.get(&blocklist_key(caller, None), at);
        let for_company = company_id
            .and_then(|company_id| self.blocklist.get(&blocklist_key(caller, Some(company_id)), at));
        for_everybody.or(for_company).is_some()
    }

    /// The blocked callers, in order of their digits.
    pub fn blocklist(&self, at: Timestamp) -> impl Iterator<Item = &BlocklistEntry> {
        self.blocklist.all(at)
    }

    /// The keys in force of one kind that is not contracts, for what is no longer wanted.
    pub(super) fn keys(&self, kind: DefinitionKind, at: Timestamp) -> Vec<String> {
        fn owned<T: fmt::Debug>(table: &Table<T>, at: Timestamp) -> Vec<String> {
            table.entries(at).map(|(key, _)| key.to_owned()).collect()
        }
        match kind {
            DefinitionKind::Operator => owned(&self.operators, at),
            DefinitionKind::Company => owned(&self.companies, at),
            DefinitionKind::Skill => owned(&self.skills, at),
            DefinitionKind::Calendar => owned(&self.calendars, at),
            DefinitionKind::Queue => owned(&self.queues, at),
            DefinitionKind::Flow => owned(&self.flows, at),
            DefinitionKind::Number => owned(&self.numbers, at),
            DefinitionKind::Agent => owned(&self.agents, at),
            DefinitionKind::ApiKey => owned(&self.api_keys, at),
            DefinitionKind::BlocklistEntry => owned(&self.blocklist, at),
            DefinitionKind::Contract => self.contract_ids(at).map(ToString::to_string).collect(),
        }
    }

    /// The definition in force under a key, as the fact that would define it again; contracts have versions instead.
    pub(super) fn definition(&self, kind: DefinitionKind, key: &str, at: Timestamp) -> Option<DirectoryFact> {
        match kind {
            DefinitionKind::Operator => {
                self.operators.get(key, at).cloned().map(DirectoryFact::OperatorDefined)
            }
            DefinitionKind::Company => {
                self.companies.get(key, at).cloned().map(DirectoryFact::CompanyDefined)
            }
            DefinitionKind::Skill => self.skills.get(key, at).cloned().map(DirectoryFact::SkillDefined),
            DefinitionKind::Calendar => {
                self.calendars.get(key, at).cloned().map(DirectoryFact::CalendarDefined)
            }
            DefinitionKind::Queue => self.queues.get(key, at).cloned().map(DirectoryFact::QueueDefined),
            DefinitionKind::Flow => self.flows.get(key, at).cloned().map(DirectoryFact::FlowDefined),
            DefinitionKind::Number => self.numbers.get(key, at).cloned().map(DirectoryFact::NumberDefined),
            DefinitionKind::Agent => self.agents.get(key, at).cloned().map(DirectoryFact::AgentDefined),
            DefinitionKind::ApiKey => self.api_keys.get(key, at).cloned().map(DirectoryFact::ApiKeyDefined),
            DefinitionKind::BlocklistEntry => {
                self.blocklist.get(key, at).cloned().map(DirectoryFact::BlocklistEntryDefined)
            }
            DefinitionKind::Contract => None,
        }
    }

    /// A digest of everything, equal for equal folds.
    pub fn state_hash(&self) -> StateHash {
        let mut hasher = StateHasher::new();
        hasher.number(i128::from(self.revision)).number(i128::from(self.effective_at.0));
        self.operators.hash_into(&mut hasher);
        self.companies.hash_into(&mut hasher);
        self.skills.hash_into(&mut hasher);
        self.calendars.hash_into(&mut hasher);
        self.queues.hash_into(&mut hasher);
        self.flows.hash_into(&mut hasher);
        self.numbers.hash_into(&mut hasher);
        self.agents.hash_into(&mut hasher);
        self.api_keys.hash_into(&mut hasher);
        self.blocklist.hash_into(&mut hasher);
        hasher.debug(&self.contracts);
        hasher.finish()
    }

    /// Takes one fact into account.
    pub(super) fn take(&mut self, fact: &DirectoryFact) {
        let since = self.folding;
        let key = fact.subject().map(|(_, key)| key).unwrap_or_default();
        match fact {
            DirectoryFact::RevisionApplied { revision, effective_at, .. } => {
                self.folding = (*effective_at, *revision);
                if *revision > self.revision {
                    self.revision = *revision;
                    self.effective_at = *effective_at;
                }
            }
            DirectoryFact::OperatorDefined(it) => self.operators.put(key, since, Some(it.clone())),
            DirectoryFact::CompanyDefined(it) => self.companies.put(key, since, Some(it.clone())),
            DirectoryFact::SkillDefined(it) => self.skills.put(key, since, Some(it.clone())),
            DirectoryFact::CalendarDefined(it) => self.calendars.put(key, since, Some(it.clone())),
            DirectoryFact::QueueDefined(it) => self.queues.put(key, since, Some(it.clone())),
            DirectoryFact::FlowDefined(it) => self.flows.put(key, since, Some(it.clone())),
            DirectoryFact::NumberDefined(it) => self.numbers.put(key, since, Some(it.clone())),
            DirectoryFact::AgentDefined(it) => {
                self.by_sip_user.entry(it.sip_user.clone()).or_default().insert(it.agent_id.clone());
                self.agents.put(key, since, Some(it.clone()));
            }
            DirectoryFact::ContractDefined(it) => {
                let history = self.contracts.entry(it.contract_id.clone()).or_default();
                history.versions.entry(it.version).or_insert_with(|| it.clone());
            }
            DirectoryFact::ApiKeyDefined(it) => self.api_keys.put(key, since, Some(it.clone())),
            DirectoryFact::BlocklistEntryDefined(it) => self.blocklist.put(key, since, Some(it.clone())),
            DirectoryFact::DefinitionRetired { kind, key } => self.retire(*kind, key.clone()),
        }
    }

    fn retire(&mut self, kind: DefinitionKind, key: String) {
        let since = self.folding;
        match kind {
            DefinitionKind::Operator => self.operators.put(key, since, None),
            DefinitionKind::Company => self.companies.put(key, since, None),
            DefinitionKind::Skill => self.skills.put(key, since, None),
            DefinitionKind::Calendar => self.calendars.put(key, since, None),
            DefinitionKind::Queue => self.queues.put(key, since, None),
            DefinitionKind::Flow => self.flows.put(key, since, None),
            DefinitionKind::Number => self.numbers.put(key, since, None),
            DefinitionKind::Agent => self.agents.put(key, since, None),
            DefinitionKind::ApiKey => self.api_keys.put(key, since, None),
            DefinitionKind::BlocklistEntry => self.blocklist.put(key, since, None),
            DefinitionKind::Contract => {
                // A key that is no id was never defined: there is nothing to retire.
                if let Ok(contract_id) = ContractId::parse(&key)
                    && let Some(history) = self.contracts.get_mut(&contract_id)
                {
                    history.retired_at = Some(since.0);
                }
            }
        }
    }
}

impl Projection for Directory {
    type Event = Recorded<DirectoryFact>;

    fn fold(&mut self, event: &Recorded<DirectoryFact>) {
        self.take(&event.fact);
    }
}

impl fmt::Debug for Directory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Directory(revision {})", self.revision)
    }
}

/// The key of a blocklist entry, as [`DirectoryFact::subject`] makes it.
fn blocklist_key(number: &PhoneNumber, company_id: Option<&CompanyId>) -> String {
    let entry =
        BlocklistEntry { number: number.clone(), company_id: company_id.cloned(), reason: String::new() };
    entry.key()
}

#[cfg(test)]
mod tests;
