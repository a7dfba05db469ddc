//! The one command of the directory: apply a wanted configuration as its next revision.

use super::{Directory, Problem, Wanted, plan};
use crate::facts::DirectoryFact;
use crate::kernel::Decider;
use crate::vocabulary::Timestamp;

/// Make this the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApplyRevision {
    /// What the configuration shall be.
    pub wanted: Wanted,
    /// Who says so.
    pub author: String,
    /// From when it counts; `None` for now.
    pub effective_at: Option<Timestamp>,
    /// The revision that the author's plan was made for.
    pub base_revision: u64,
    /// SHA-256 of the document it came in, in hex.
    pub source_sha256: String,
    /// How many partitions the logs have.
    pub cell_count: u32,
}

impl ApplyRevision {
    /// From when it counts, if it is applied at `now`.
    pub fn effective_at(&self, now: Timestamp) -> Timestamp {
        self.effective_at.unwrap_or(now)
    }
}

/// Why a revision is not applied.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum Rejection {
    #[error("a revision cannot count from the past: {effective_at}")]
    EffectiveInThePast { effective_at: Timestamp },
    #[error("revision {revision} counts from {effective_at} on: a later one cannot count before")]
    RevisionPending { revision: u64, effective_at: Timestamp },
    #[error("the plan was made for revision {base_revision}, and {revision} is in force: plan again")]
    StaleBase { base_revision: u64, revision: u64 },
    #[error("the wanted configuration has {} problem(s)", .0.len())]
    Problems(Vec<Problem>),
}

impl Decider for Directory {
    type Command = ApplyRevision;
    type Event = DirectoryFact;
    type Rejection = Rejection;

    /// The facts of the next revision, `RevisionApplied` first. None when nothing differs: the same document again, as by
    /// a client that did not hear the answer, is no change and no conflict.
    fn decide(&self, now: Timestamp, command: ApplyRevision) -> Result<Vec<DirectoryFact>, Rejection> {
        let effective_at = command.effective_at(now);
        if effective_at < now {
            return Err(Rejection::EffectiveInThePast { effective_at });
        }
        let (revision, pending) = (self.revision(), Directory::effective_at(self));
        if effective_at < pending {
            return Err(Rejection::RevisionPending { revision, effective_at: pending });
        }
        let plan =
            plan(self, &command.wanted, effective_at, command.cell_count).map_err(Rejection::Problems)?;
        if plan.facts.is_empty() {
            return Ok(Vec::new());
        }
        let ApplyRevision { author, base_revision, source_sha256, .. } = command;
        if base_revision != revision {
            return Err(Rejection::StaleBase { base_revision, revision });
        }
        let begin =
            DirectoryFact::RevisionApplied { revision: revision + 1, author, effective_at, source_sha256 };
        Ok(std::iter::once(begin).chain(plan.facts).collect())
    }

    fn evolve(&mut self, fact: &DirectoryFact) {
        self.take(fact);
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::super::fixture::good;
    use super::*;
    use crate::kernel::replay;
    use crate::vocabulary::Millis;

    const NOW: Timestamp = Timestamp(1_000_000);

    fn revision(base_revision: u64, effective_at: Option<Timestamp>) -> ApplyRevision {
        let (author, source_sha256) = ("ada".to_owned(), String::new());
        ApplyRevision { wanted: good(), author, effective_at, base_revision, source_sha256, cell_count: 1 }
    }

    fn without_an_agent(base_revision: u64, effective_at: Option<Timestamp>) -> ApplyRevision {
        let mut command = revision(base_revision, effective_at);
        command.wanted.agents.truncate(1);
        command
    }

    /// Decides on top of the good configuration, which counts from one minute after `NOW`.
    #[track_caller]
    fn check(at: Timestamp, command: ApplyRevision, expected: Expect) {
        let first = Directory::default().decide(NOW, revision(0, Some(NOW + Millis(60_000)))).unwrap();
        let directory: Directory = replay(&first);
        expected.assert_eq(&match directory.decide(at, command) {
            Ok(facts) => {
                format!("{} facts, {:?}", facts.len(), facts.first().map(|it| it.subject().is_none()))
            }
            Err(rejection) => format!("rejected: {rejection}"),
        });
    }

    #[test]
    fn a_revision_begins_with_its_number_author_and_date_and_the_same_again_changes_nothing() {
        let facts = Directory::default().decide(NOW, revision(0, None)).unwrap();
        let DirectoryFact::RevisionApplied { revision: number, author, effective_at, .. } = &facts[0] else {
            panic!("{:?}", facts[0]);
        };
        assert_eq!((*number, author.as_str(), *effective_at), (1, "ada", NOW));
        let directory: Directory = replay(&facts);
        assert_eq!(directory.revision(), 1);
        assert_eq!(directory.decide(NOW, revision(0, None)), Ok(Vec::new()));
    }

    #[test]
    fn a_revision_counts_neither_from_the_past_nor_before_the_one_that_is_pending() {
        let past = without_an_agent(1, Some(NOW - Millis(1)));
        check(
            NOW,
            past,
            expect!["rejected: a revision cannot count from the past: 1970-01-01T00:16:39.999Z"],
        );
        let pending = expect![
            "rejected: revision 1 counts from 1970-01-01T00:17:40.000Z on: a later one cannot count before"
        ];
        check(NOW, without_an_agent(1, None), pending);
        check(NOW + Millis(60_000), without_an_agent(1, None), expect!["2 facts, Some(true)"]);
    }

    #[test]
    fn a_plan_made_for_another_revision_is_refused_unless_it_changes_nothing() {
        let at = NOW + Millis(60_000);
        let stale = expect!["rejected: the plan was made for revision 0, and 1 is in force: plan again"];
        check(at, without_an_agent(0, None), stale);
        check(at, revision(0, None), expect!["0 facts, None"]);
    }

    #[test]
    fn what_is_wrong_with_the_document_is_said_before_anything_of_revisions() {
        let mut wrong = revision(9, None);
        wrong.wanted.numbers[0].wanted.flow_id = crate::vocabulary::FlowId::parse("flw_none").unwrap();
        check(NOW + Millis(60_000), wrong, expect!["rejected: the wanted configuration has 1 problem(s)"]);
    }
}
