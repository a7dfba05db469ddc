//! From the storm to the end: when a phase begins, and what must hold when all are over.

use trunkline_domain::vocabulary::Millis;

use crate::checker::Violation;
use crate::clients::routed::{Node, Partition};
use crate::invariants::becomes_usable;
use crate::turn::Phase;
use crate::world::World;

/// How long it is quiet in the end: longer than any lease, so that deadlines are kept by the leader alone.
const QUIET: Millis = Millis(6_000);
/// How long the last of it may take to reach everybody.
const LAST_WORDS: Millis = Millis(2_000);
/// How long it is calm at least: what was under way in the storm has arrived by then.
const CALM: Millis = Millis(4_000);

impl World {
    /// Quiet for long enough, and everybody has heard everything, or will not.
    pub(crate) fn over(&self) -> bool {
        let quiet_for = self.agenda.now().since(self.phase_since);
        if self.sight.phase < Phase::Quiet || quiet_for < QUIET {
            return false;
        }
        let last = self.checker.last_index();
        let published = self.checker.state().outbox.is_empty();
        let equal = published && self.voters.values().all(|it| it.replica.applied.0 == last);
        equal || quiet_for > QUIET + LAST_WORDS
    }

    /// The next phase begins when this one has come to its end.
    pub(crate) fn turn_page(&mut self) {
        let unusable = becomes_usable::unusable(self.checker.state(), &self.sight.agents);
        let next = match self.sight.phase {
            Phase::Calm if unusable.is_none() && self.calm_for_long() => Phase::Probe,
            Phase::Probe if self.sight.served.len() == self.sight.agents.len() && self.settled() => {
                Phase::Quiet
            }
            _ => return,
        };
        self.enter(next);
    }

    /// Whether the routed cell has nothing under way.
    fn settled(&self) -> bool {
        let waits = |it: &Partition| it.router().is_some_and(|it| it.book().waiting_count() > 0);
        self.nodes.iter().all(Node::idle)
            && self.partitions.iter().all(|it| it.idle() && !waits(it))
            && self.checker.state().outbox.is_empty()
    }

    /// Whether nothing of the storm is under way any more.
    fn calm_for_long(&self) -> bool {
        let now = self.agenda.now();
        now >= self.phase_since + CALM
            && self.replaced.is_none()
            && self.paused.values().all(|until| *until < now)
    }

    fn enter(&mut self, phase: Phase) {
        self.sight.phase = phase;
        self.phase_since = self.agenda.now();
        self.trace.say(self.phase_since, format_args!("phase {phase:?}"));
    }

    /// Nothing fails any more.
    pub(crate) fn calm(&mut self) {
        self.net.heal();
        self.slow_disks.clear();
        self.directory.complete();
        for voter in self.voters.values_mut() {
            voter.clock_ahead = Millis::ZERO;
            voter.dies_before_reply = false;
        }
        for id in self.voters.keys().copied().collect::<Vec<_>>() {
            self.start(id);
        }
        self.enter(Phase::Calm);
    }

    pub(crate) fn end(&mut self) -> Result<(), Violation> {
        let voters: Vec<_> = self
            .voters
            .values()
            .map(|it| (it.id, it.replica.applied.0, it.replica.machine.state_hash()))
            .collect();
        let routers = self.partitions.iter().filter_map(Partition::router);
        self.checker.routed(routers, &self.logs, &self.sight.directory)?;
        let (index, hash) = self.checker.reference();
        self.trace.say(self.agenda.now(), format_args!("ends at index {index} with {hash}"));
        self.tally.many("events", self.agenda.count());
        self.checker.end(&voters, &mut self.tally)
    }
}
