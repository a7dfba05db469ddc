//! Rules about contracts: a version never changes, and one piece of work has one price.

use std::collections::BTreeMap;

use super::{Check, Placed, WantedContract};
use crate::directory::{Problem, span_text};
use crate::facts::{Contract, UsageUnit};
use crate::vocabulary::{CompanyId, ContractId, Millis, Timestamp};

const MINUTE: Millis = Millis(60_000);
const HOUR: Millis = Millis(3_600_000);

/// When a contract prices a unit: from, to (exclusive; `None` for ever).
struct Period {
    contract_id: ContractId,
    from: Timestamp,
    to: Option<Timestamp>,
    /// Where the document says so; a retired contract is not in it.
    path: Option<String>,
}

impl Check<'_> {
    pub(super) fn contracts(&mut self) {
        let contracts = &self.wanted.contracts;
        self.unique(contracts, "version", "contract version", |it| {
            format!("{}/{}", it.contract.contract_id, it.contract.version)
        });
        for placed in contracts {
            self.terms(&placed.path, &placed.wanted.contract);
        }
        let mut by_id: BTreeMap<&ContractId, BTreeMap<u32, &Placed<WantedContract>>> = BTreeMap::new();
        for placed in contracts {
            let contract = &placed.wanted.contract;
            by_id.entry(&contract.contract_id).or_default().entry(contract.version).or_insert(placed);
        }
        let mut periods: BTreeMap<(CompanyId, UsageUnit), Vec<Period>> = BTreeMap::new();
        for (contract_id, versions) in by_id {
            self.versions(contract_id, &versions, &mut periods);
        }
        self.retired_periods(&mut periods);
        for ((company_id, unit), periods) in periods {
            self.overlaps(&company_id, unit, &periods);
        }
        self.one_currency();
    }

    fn terms(&mut self, path: &str, contract: &Contract) {
        if contract.version == 0 {
            self.problem(format!("{path}.version"), "versions count from 1");
        }
        if contract.price.micros < 0 {
            self.problem(format!("{path}.price"), "a price cannot be negative");
        }
        if contract.price_per_ms != MINUTE && contract.price_per_ms != HOUR {
            self.problem(format!("{path}.price"), "a price is per minute or per hour");
        }
        if contract.price.currency != contract.currency {
            let reason =
                format!("the price is in {}, the contract in {}", contract.price.currency, contract.currency);
            self.problem(format!("{path}.price"), reason);
        }
        if contract.monthly_minimum.currency != contract.currency {
            let reason = format!(
                "the monthly minimum is in {}, the price in {}",
                contract.monthly_minimum.currency, contract.currency
            );
            self.problem(format!("{path}.monthly_minimum"), reason);
        }
        if contract.monthly_minimum.micros < 0 {
            self.problem(format!("{path}.monthly_minimum"), "a monthly minimum cannot be negative");
        }
        self.span(format!("{path}.first_increment"), contract.first_increment_ms, Millis(1), HOUR);
        self.span(format!("{path}.increment"), contract.increment_ms, Millis(1), HOUR);
    }

    /// The versions of one contract: known ones unchanged, new ones in order and not in the past.
    fn versions(
        &mut self,
        contract_id: &ContractId,
        wanted: &BTreeMap<u32, &Placed<WantedContract>>,
        periods: &mut BTreeMap<(CompanyId, UsageUnit), Vec<Period>>,
    ) {
        let mut all: BTreeMap<u32, (Contract, Option<&str>)> = self
            .directory
            .contract_versions(contract_id)
            .map(|known| (known.version, (known.clone(), None)))
            .collect();
        let retired_at = self.directory.contract_retired_at(contract_id);
        for (version, placed) in wanted {
            let path = &placed.path;
            if let Some(retired_at) = retired_at {
                let reason = format!("contract {contract_id} was retired at {retired_at}: use another id");
                self.problem(format!("{path}.id"), reason);
                return;
            }
            let known = self.directory.contract_version(contract_id, *version);
            let contract = placed.wanted.resolved(known, self.effective_at);
            match known {
                Some(known) if *known != contract => {
                    let difference = super::super::describe::difference(
                        &crate::facts::DirectoryFact::ContractDefined(known.clone()),
                        &crate::facts::DirectoryFact::ContractDefined(contract.clone()),
                    );
                    let last = all.keys().next_back().copied().unwrap_or(*version);
                    let reason = format!(
                        "version {version} of {contract_id} is agreed and cannot change ({difference}): add version {}",
                        last + 1
                    );
                    self.problem(path.clone(), reason);
                    return;
                }
                Some(_) => {}
                None => self.new_version(path, &contract, &all),
            }
            all.insert(*version, (contract, Some(path)));
        }
        self.withdrawn(contract_id, wanted, &all);
        let ends: Vec<Option<Timestamp>> =
            all.values().skip(1).map(|(next, _)| Some(next.effective_at)).chain([None]).collect();
        for ((contract, path), to) in all.values().zip(ends) {
            periods.entry((contract.company_id.clone(), contract.unit)).or_default().push(Period {
                contract_id: contract_id.clone(),
                from: contract.effective_at,
                to,
                path: path.map(str::to_owned),
            });
        }
    }

    fn new_version(
        &mut self,
        path: &str,
        contract: &Contract,
        before: &BTreeMap<u32, (Contract, Option<&str>)>,
    ) {
        let Some((last, _)) = before.values().next_back() else {
            // The first version may look back: work done before it was typed in is priced by it.
            if contract.version != 1 {
                let reason =
                    format!("the first version of {} is 1, not {}", contract.contract_id, contract.version);
                self.problem(format!("{path}.version"), reason);
            }
            return;
        };
        if contract.version != last.version + 1 {
            let reason =
                format!("version {} follows {}, not {}", last.version + 1, last.version, contract.version);
            self.problem(format!("{path}.version"), reason);
        }
        if contract.company_id != last.company_id {
            let reason = format!("contract {} is of {}", contract.contract_id, last.company_id);
            self.problem(format!("{path}.id"), reason);
        }
        if contract.effective_at <= last.effective_at {
            let reason = format!("version {} counts from {} already", last.version, last.effective_at);
            self.problem(format!("{path}.effective_from"), reason);
        } else if contract.effective_at < self.effective_at {
            let reason = format!(
                "a new version cannot count from the past: {} is before {}",
                contract.effective_at, self.effective_at
            );
            self.problem(format!("{path}.effective_from"), reason);
        }
    }

    /// A version that is agreed and not yet in force cannot be dropped in silence.
    fn withdrawn(
        &mut self,
        contract_id: &ContractId,
        wanted: &BTreeMap<u32, &Placed<WantedContract>>,
        all: &BTreeMap<u32, (Contract, Option<&str>)>,
    ) {
        let Some((last_listed, listed)) = wanted.last_key_value() else { return };
        let dropped = all
            .values()
            .map(|(contract, _)| contract)
            .find(|contract| contract.version > *last_listed && contract.effective_at > self.effective_at);
        if let Some(dropped) = dropped {
            let reason = format!(
                "version {} of {contract_id} is agreed from {} on and cannot be taken back: list it too",
                dropped.version, dropped.effective_at
            );
            self.problem(format!("{}.version", listed.path), reason);
        }
    }

    /// Contracts that the document leaves out: over at the latest when this revision counts.
    fn retired_periods(&self, periods: &mut BTreeMap<(CompanyId, UsageUnit), Vec<Period>>) {
        for contract_id in self.directory.all_contract_ids() {
            if self.wanted.contracts.iter().any(|it| it.wanted.contract.contract_id == *contract_id) {
                continue;
            }
            let over_at = self.directory.contract_retired_at(contract_id).unwrap_or(self.effective_at);
            let versions: Vec<&Contract> = self.directory.contract_versions(contract_id).collect();
            for (index, version) in versions.iter().enumerate() {
                let next = versions.get(index + 1).map_or(over_at, |next| next.effective_at.min(over_at));
                if version.effective_at < next {
                    periods.entry((version.company_id.clone(), version.unit)).or_default().push(Period {
                        contract_id: contract_id.clone(),
                        from: version.effective_at,
                        to: Some(next),
                        path: None,
                    });
                }
            }
        }
    }

    fn overlaps(&mut self, company_id: &CompanyId, unit: UsageUnit, periods: &[Period]) {
        for (index, later) in periods.iter().enumerate() {
            for earlier in &periods[..index] {
                let apart = |one: &Period, other: &Period| one.to.is_some_and(|to| to <= other.from);
                if later.contract_id == earlier.contract_id || apart(later, earlier) || apart(earlier, later)
                {
                    continue;
                }
                if let Some(path) = later.path.as_ref().or(earlier.path.as_ref()) {
                    let reason = format!(
                        "{} and {} would both price {} of {company_id}: one must end before the other begins",
                        earlier.contract_id,
                        later.contract_id,
                        unit.as_str()
                    );
                    let other = earlier.path.clone().filter(|other| other != path);
                    self.problems.push(Problem { path: path.clone(), reason, other });
                }
            }
        }
    }

    /// A company gets one invoice a month, in one currency.
    fn one_currency(&mut self) {
        let mut first = BTreeMap::new();
        let mut found = Vec::new();
        for placed in &self.wanted.contracts {
            let contract = &placed.wanted.contract;
            let currency = first.entry(&contract.company_id).or_insert(contract.currency);
            if *currency != contract.currency {
                found.push((
                    format!("{}.price", placed.path),
                    format!(
                        "{} is invoiced in {currency}, not in {}",
                        contract.company_id, contract.currency
                    ),
                ));
            }
        }
        for (path, reason) in found {
            self.problem(path, reason);
        }
        for placed in &self.wanted.contracts {
            let contract = &placed.wanted.contract;
            let team = |it: &crate::facts::Agent| it.team_company_id.as_ref() == Some(&contract.company_id);
            if contract.unit == UsageUnit::SignedInTime
                && !self.wanted.agents.iter().any(|it| team(&it.wanted))
            {
                let reason = format!(
                    "{} is per {} of {}'s team, and no agent has it as team_company",
                    contract.contract_id,
                    span_text(contract.price_per_ms),
                    contract.company_id
                );
                self.problem(format!("{}.unit", placed.path), reason);
            }
        }
    }
}
