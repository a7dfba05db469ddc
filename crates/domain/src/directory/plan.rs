//! What a wanted configuration would change.

use std::collections::BTreeSet;

use super::check::check;
use super::describe::{difference, summary};
use super::{Directory, Problem, Wanted};
use crate::facts::{DefinitionKind, DirectoryFact};
use crate::vocabulary::Timestamp;

/// What happens to a definition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ChangeKind {
    /// It is new.
    Added,
    /// It differs.
    Changed,
    /// It is retired.
    Retired,
}

/// One difference between what is and what would be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// What happens to it.
    pub kind: ChangeKind,
    /// What kind of thing it is.
    pub subject: DefinitionKind,
    /// Which: the key of [`DirectoryFact::subject`], and for a contract `/` and the version.
    pub key: String,
    /// What differs, in words.
    pub detail: String,
}

/// What a wanted configuration would change, and the facts that would change it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Plan {
    /// The differences, in the order of the facts.
    pub changes: Vec<Change>,
    /// The facts of the revision behind its `RevisionApplied`: definitions by kind in order of dependency, each kind in
    /// order of the document, then what is retired, dependants first.
    pub facts: Vec<DirectoryFact>,
}

impl Plan {
    fn push(&mut self, kind: ChangeKind, fact: DirectoryFact, detail: String) {
        if let Some((subject, key)) = fact.subject() {
            let key = match &fact {
                DirectoryFact::ContractDefined(contract) => format!("{key}/{}", contract.version),
                _ => key,
            };
            self.changes.push(Change { kind, subject, key, detail });
            self.facts.push(fact);
        }
    }

    fn retire(&mut self, subject: DefinitionKind, key: String) {
        let fact = DirectoryFact::DefinitionRetired { kind: subject, key: key.clone() };
        self.changes.push(Change { kind: ChangeKind::Retired, subject, key, detail: String::new() });
        self.facts.push(fact);
    }
}

/// Compares what is wanted with what will be in force at `effective_at`; empty when nothing differs.
///
/// `cell_count` is how many partitions the logs have.
///
/// # Errors
/// Every reason why the wanted configuration cannot be applied, by place.
pub fn plan(
    directory: &Directory,
    wanted: &Wanted,
    effective_at: Timestamp,
    cell_count: u32,
) -> Result<Plan, Vec<Problem>> {
    let problems = check(directory, wanted, effective_at, cell_count);
    if !problems.is_empty() {
        return Err(problems);
    }
    let mut plan = Plan::default();
    let mut kept = BTreeSet::new();
    for fact in wanted.definitions() {
        let Some((kind, key)) = fact.subject() else { continue };
        match directory.definition(kind, &key, effective_at) {
            None => plan.push(ChangeKind::Added, fact.clone(), summary(&fact)),
            Some(before) if before != fact => {
                plan.push(ChangeKind::Changed, fact.clone(), difference(&before, &fact));
            }
            Some(_) => {}
        }
        kept.insert((kind, key));
    }
    for placed in &wanted.contracts {
        let wanted = &placed.wanted;
        let contract_id = &wanted.contract.contract_id;
        kept.insert((DefinitionKind::Contract, contract_id.to_string()));
        if directory.contract_version(contract_id, wanted.contract.version).is_none() {
            let fact = DirectoryFact::ContractDefined(wanted.resolved(None, effective_at));
            plan.push(ChangeKind::Added, fact.clone(), summary(&fact));
        }
    }
    for kind in DefinitionKind::ALL.into_iter().rev() {
        for key in directory.keys(kind, effective_at) {
            if !kept.contains(&(kind, key.clone())) {
                plan.retire(kind, key);
            }
        }
    }
    Ok(plan)
}
