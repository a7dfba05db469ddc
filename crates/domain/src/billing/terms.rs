//! What billing needs of the directory log: contracts and teams by date, names, the zone of the months.

use std::collections::BTreeMap;

use crate::facts::{Contract, DefinitionKind, DirectoryFact, Recorded, UsageUnit};
use crate::kernel::{Projection, StateHasher};
use crate::vocabulary::{AgentId, Cell, CompanyId, ContractId, Timestamp};

/// A definition with its two dates; `None` when it was retired.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Dated<T> {
    /// When the directory log got it.
    known_at: Timestamp,
    /// From when it counts.
    effective_at: Timestamp,
    value: Option<T>,
}

impl<T> Dated<T> {
    fn stands_at(&self, at: Timestamp) -> bool {
        self.effective_at <= at && self.known_at <= at
    }
}

/// The fold of the directory log.
///
/// Work is priced by what was **in force and known when the work ended**: the definition must be effective by then and
/// must have been recorded by then. So the price of a piece of work is a function of the facts alone, not of which log
/// billing happened to read first. A contract signed later with an earlier date does not touch work rated before; that
/// is a correction (credit note and new item), never an edit.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Terms {
    sequence: u64,
    revision_effective_at: Timestamp,
    contracts: BTreeMap<ContractId, Vec<Dated<Contract>>>,
    teams: BTreeMap<AgentId, Vec<Dated<Option<CompanyId>>>>,
    companies: BTreeMap<CompanyId, (String, Cell)>,
    time_zone: Option<String>,
}

impl Projection for Terms {
    type Event = Recorded<DirectoryFact>;

    fn fold(&mut self, event: &Self::Event) {
        if event.meta.sequence <= self.sequence {
            return;
        }
        self.sequence = event.meta.sequence;
        let known_at = event.meta.recorded_at;
        let effective_at = self.revision_effective_at;
        match &event.fact {
            DirectoryFact::RevisionApplied { effective_at, .. } => self.revision_effective_at = *effective_at,
            DirectoryFact::OperatorDefined(it) => self.time_zone = Some(it.time_zone.clone()),
            DirectoryFact::CompanyDefined(it) => {
                self.companies.insert(it.company_id.clone(), (it.name.clone(), it.cell));
            }
            DirectoryFact::ContractDefined(it) => {
                let effective_at = effective_at.max(it.effective_at);
                let dated = Dated { known_at, effective_at, value: Some(it.clone()) };
                self.contracts.entry(it.contract_id.clone()).or_default().push(dated);
            }
            DirectoryFact::AgentDefined(it) => {
                let dated = Dated { known_at, effective_at, value: Some(it.team_company_id.clone()) };
                self.teams.entry(it.agent_id.clone()).or_default().push(dated);
            }
            DirectoryFact::DefinitionRetired { kind, key } => self.retire(*kind, key, known_at, effective_at),
            _ => {}
        }
    }
}

impl Terms {
    fn retire(&mut self, kind: DefinitionKind, key: &str, known_at: Timestamp, effective_at: Timestamp) {
        if kind == DefinitionKind::Contract {
            let versions = ContractId::parse(key).ok().and_then(|id| self.contracts.get_mut(&id));
            versions.into_iter().for_each(|it| it.push(Dated { known_at, effective_at, value: None }));
        } else if kind == DefinitionKind::Agent {
            let teams = AgentId::parse(key).ok().and_then(|id| self.teams.get_mut(&id));
            teams.into_iter().for_each(|it| it.push(Dated { known_at, effective_at, value: None }));
        }
    }

    /// The contracts of a company in force and known at `at`: of each the highest version, by id.
    pub fn contracts_at(&self, company_id: &CompanyId, at: Timestamp) -> impl Iterator<Item = &Contract> {
        self.contracts.values().filter_map(move |versions| {
            let standing = versions.iter().filter(|it| it.stands_at(at));
            let contract = standing.fold(None::<&Contract>, |best, it| match (best, &it.value) {
                (_, None) => None,
                (Some(best), Some(next)) if next.version < best.version => Some(best),
                (_, Some(next)) => Some(next),
            })?;
            (contract.company_id == *company_id).then_some(contract)
        })
    }

    /// The contract that prices a unit of work of a company that ended at `at`. When several do, the first by id.
    pub fn contract_at(&self, company_id: &CompanyId, unit: UsageUnit, at: Timestamp) -> Option<&Contract> {
        self.contracts_at(company_id, at).find(|it| it.unit == unit)
    }

    /// A contract by version, whenever it was in force.
    pub fn contract(&self, contract_id: &ContractId, version: u32) -> Option<&Contract> {
        let versions = self.contracts.get(contract_id)?;
        versions.iter().filter_map(|it| it.value.as_ref()).find(|it| it.version == version)
    }

    /// The company whose team an agent was in at `at`.
    pub fn team_at(&self, agent_id: &AgentId, at: Timestamp) -> Option<&CompanyId> {
        let latest = self.teams.get(agent_id)?.iter().rfind(|it| it.stands_at(at))?;
        latest.value.as_ref()?.as_ref()
    }

    /// The name of a company, as on invoices; `None` when it was never defined.
    pub fn company_name(&self, company_id: &CompanyId) -> Option<&str> {
        self.companies.get(company_id).map(|(name, _)| name.as_str())
    }

    /// Every company, with the partition its contacts are in.
    pub fn companies(&self) -> impl Iterator<Item = (&CompanyId, Cell)> {
        self.companies.iter().map(|(company_id, (_, cell))| (company_id, *cell))
    }

    /// The IANA zone of the operator's months; `UTC` until it is defined.
    pub fn time_zone(&self) -> &str {
        self.time_zone.as_deref().unwrap_or("UTC")
    }

    /// Adds the state to a digest.
    pub fn hash_into(&self, hasher: &mut StateHasher) {
        hasher.text("terms").debug(self);
    }
}
