//! A seeded simulation of agent-state: one thread, virtual time, and everything that can fail.
//!
//! What is real: the machine (`trunkline_domain::agent_state`), its rule about clocks, the fence rules of the event log
//! (`trunkline_runtime::event_log::FenceState`), the timesheet (`trunkline_domain::reporting`), the promises over the agents
//! log (`trunkline_chaos`). What is modelled: the consensus, the disks, the network, the log, and everybody who asks.
//! What is absent: threads, sockets, files, and any clock but the one in `agenda`.
//!
//! A run has four phases. In the **storm** agents, routing owners and media nodes work while voters crash, pause, lose writes
//! and disks, clocks jump and the network does what it likes. Then it is **calm**: nothing fails any more, and every agent
//! must become ready within a bound. In the **probe** each of them is offered a contact and must serve it. In the end it is
//! **quiet**: nobody asks for anything, and what is due must happen all the same. Each file of `invariants` is one promise,
//! checked at every committed command, at every record of the log, or at the end.
//!
//! The same seed gives the same run: [`Report::trace_hash`] is over everything that happened.

mod actors;
mod agenda;
mod bug;
mod chance;
mod checker;
mod clients;
mod directory;
mod event_log;
mod faults;
mod invariants;
mod message;
mod net;
mod phases;
mod tally;
mod trace;
mod turn;
mod voter;
mod world;

pub use bug::Bug;
pub use checker::Violation;
pub use tally::Tally;

use trunkline_domain::vocabulary::Millis;

use crate::world::World;

/// How long the storm lasts, unless said otherwise.
pub const STORM: Millis = Millis(14_000);

/// What to simulate.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// All chance comes from it.
    pub seed: u64,
    /// How long things fail.
    pub storm: Millis,
    /// A bug planted on purpose.
    pub bug: Option<Bug>,
    /// Whether what happens is printed.
    pub printed: bool,
}

impl Plan {
    /// A seed as it is run in the tests.
    pub fn of(seed: u64) -> Self {
        Self { seed, storm: STORM, bug: None, printed: false }
    }

    /// The command that runs it again, with everything printed.
    pub fn again(&self) -> String {
        let bug = self.bug.map_or(String::new(), |bug| format!("TRUNKLINE_SIM_BUG={} ", bug.name()));
        format!(
            "TRUNKLINE_SIM_SEED={} {bug}cargo test -p trunkline-sim --test seeds one_seed -- --nocapture",
            self.seed
        )
    }
}

/// What came of a run.
#[derive(Debug, Clone)]
pub struct Report {
    /// What was run.
    pub plan: Plan,
    /// Of everything that happened.
    pub trace_hash: u64,
    /// How often what happened.
    pub tally: Tally,
    /// In virtual time.
    pub elapsed: Millis,
    /// The first promise that was broken; nothing happened after it.
    pub violation: Option<Violation>,
}

impl Report {
    /// What to tell whoever has to look: nothing when every promise was kept.
    pub fn failure(&self) -> Option<String> {
        let Violation { invariant, message } = self.violation.as_ref()?;
        let (seed, after, again) = (self.plan.seed, self.elapsed, self.plan.again());
        Some(format!("seed {seed}: {invariant}: {message} (after {after})\nagain: {again}"))
    }
}

/// Runs a plan to its end or to the first broken promise.
pub fn run(plan: Plan) -> Report {
    let mut world = World::new(plan.seed, plan.storm, plan.bug, plan.printed);
    let violation = world.run().err();
    let (trace_hash, elapsed) = (world.trace.hash(), world.elapsed());
    Report { plan, trace_hash, tally: world.tally, elapsed, violation }
}
