//! What somebody is given when it is its turn, and what it may ask of the world.

use std::collections::BTreeSet;
use std::rc::Rc;

use trunkline_domain::agent_state::{Action, Reply, State};
use trunkline_domain::facts::{DirectoryFact, Outcome};
use trunkline_domain::vocabulary::{AgentId, Cell, CommandId, ContactId, NodeId, Timestamp};

use crate::bug::Bug;
use crate::chance::Chance;
use crate::event_log::EventLog;
use crate::message::{Address, Message};
use crate::voter::disk::Entry;

/// One turn. `now` is true time, which nobody in the simulation can read but as far as its own clock is right.
pub(crate) struct Turn<'a> {
    pub(crate) now: Timestamp,
    pub(crate) chance: &'a mut Chance,
    pub(crate) bug: Option<Bug>,
    pub(crate) sight: &'a Sight,
    /// What is in the logs; reading them takes no time.
    pub(crate) logs: &'a EventLog,
    pub(crate) effects: Vec<Effect>,
}

impl Turn<'_> {
    pub(crate) fn send(&mut self, to: Address, message: Message) {
        self.effects.push(Effect::Send { to, message });
    }

    pub(crate) fn has(&self, bug: Bug) -> bool {
        self.bug == Some(bug)
    }
}

/// What is asked of the world, or told to whoever checks.
#[derive(Debug)]
pub(crate) enum Effect {
    Send {
        to: Address,
        message: Message,
    },
    /// Make what was written so far durable; takes a while.
    Sync {
        through: u64,
    },
    /// The process ends here: nothing behind this happens.
    Die,
    Leads {
        term: u64,
    },
    Applied(Applied),
    Issued {
        command_id: CommandId,
        action: Action,
    },
    Acknowledged {
        command_id: CommandId,
        reply: Reply,
    },
    /// Caller and agent hear each other.
    Bridged {
        contact_id: ContactId,
        token: u64,
    },
    /// A contact was served to its end.
    Served {
        agent_id: AgentId,
    },
}

/// One entry, applied by one voter.
#[derive(Debug)]
pub(crate) struct Applied {
    pub(crate) entry: Rc<Entry>,
    pub(crate) print: u64,
    /// The whole state, now and then.
    pub(crate) sample: Option<Box<State>>,
}

/// What clients see without asking: the directory, and what the contacts log would tell.
#[derive(Debug)]
pub(crate) struct Sight {
    pub(crate) phase: Phase,
    /// Where agent-state may answer.
    pub(crate) voters: Vec<u32>,
    pub(crate) agents: Vec<(AgentId, Cell)>,
    /// The blind media nodes.
    pub(crate) medias: Vec<NodeId>,
    /// The media nodes of the routed cell.
    pub(crate) nodes: Vec<NodeId>,
    /// What the directory log says.
    pub(crate) directory: Rc<Outcome<DirectoryFact>>,
    /// Who waits on a blind media node.
    pub(crate) waiting: Vec<(ContactId, NodeId)>,
    /// Agents who served a contact in the probe.
    pub(crate) served: BTreeSet<AgentId>,
}

impl Sight {
    /// Whether every agent of a cell served a contact in the probe.
    pub(crate) fn all_served(&self, cell: Cell) -> bool {
        self.agents.iter().filter(|(_, of)| *of == cell).all(|(id, _)| self.served.contains(id))
    }
}

/// How far a simulation is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) enum Phase {
    /// Everything happens, and everything fails.
    #[default]
    Storm,
    /// Nothing fails any more; everybody wants to work.
    Calm,
    /// Each agent is offered a contact.
    Probe,
    /// Nobody asks for anything.
    Quiet,
}
