//! A wanted configuration, whole, and each part's place in the document it came from.

use crate::facts::{
    Agent, ApiKey, BlocklistEntry, Calendar, Company, Contract, DirectoryFact, Flow, Number, Operator, Queue,
    Skill,
};
use crate::vocabulary::Timestamp;

/// A definition and where it stands in its document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placed<T> {
    /// As `companies[0].queues[1]`; a field of it is `companies[0].queues[1].offer_timeout`.
    pub path: String,
    /// What is wanted.
    pub wanted: T,
}

/// A contract version as wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WantedContract {
    /// The version; its `effective_at` counts only when `dated`.
    pub contract: Contract,
    /// Whether the document says from when it counts. If not, a known version keeps its date and a new one counts from
    /// the revision's.
    pub dated: bool,
}

/// Everything that shall be defined. What is left out is retired.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "each is the definitions of that name")]
pub struct Wanted {
    pub operator: Placed<Operator>,
    pub skills: Vec<Placed<Skill>>,
    pub calendars: Vec<Placed<Calendar>>,
    pub companies: Vec<Placed<Company>>,
    pub queues: Vec<Placed<Queue>>,
    pub flows: Vec<Placed<Flow>>,
    pub numbers: Vec<Placed<Number>>,
    pub agents: Vec<Placed<Agent>>,
    pub contracts: Vec<Placed<WantedContract>>,
    pub api_keys: Vec<Placed<ApiKey>>,
    pub blocklist: Vec<Placed<BlocklistEntry>>,
}

/// One reason why a document cannot be applied.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// Where, as `companies[0].queues[1].required_skills[0]`.
    pub path: String,
    /// What is wrong, in words.
    pub reason: String,
    /// The other place it collides with.
    pub other: Option<String>,
}

impl Wanted {
    /// Everything but contracts, as the facts that would define it: by kind in order of dependency, then as written.
    pub(super) fn definitions(&self) -> Vec<DirectoryFact> {
        fn all<T: Clone>(into: &mut Vec<DirectoryFact>, of: &[Placed<T>], fact: impl Fn(T) -> DirectoryFact) {
            into.extend(of.iter().map(|placed| fact(placed.wanted.clone())));
        }
        let mut facts = vec![DirectoryFact::OperatorDefined(self.operator.wanted.clone())];
        all(&mut facts, &self.skills, DirectoryFact::SkillDefined);
        all(&mut facts, &self.calendars, DirectoryFact::CalendarDefined);
        all(&mut facts, &self.companies, DirectoryFact::CompanyDefined);
        all(&mut facts, &self.queues, DirectoryFact::QueueDefined);
        all(&mut facts, &self.flows, DirectoryFact::FlowDefined);
        all(&mut facts, &self.numbers, DirectoryFact::NumberDefined);
        all(&mut facts, &self.agents, DirectoryFact::AgentDefined);
        all(&mut facts, &self.api_keys, DirectoryFact::ApiKeyDefined);
        all(&mut facts, &self.blocklist, DirectoryFact::BlocklistEntryDefined);
        facts
    }
}

impl WantedContract {
    /// The contract with the date it counts from: its own, the one it is known with, or the revision's.
    pub(super) fn resolved(&self, known: Option<&Contract>, revision_at: Timestamp) -> Contract {
        let mut contract = self.contract.clone();
        if !self.dated {
            contract.effective_at = known.map_or(revision_at, |known| known.effective_at);
        }
        contract
    }
}
