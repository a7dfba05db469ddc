//! No acknowledged command is lost, and what is committed stays as it is.
//!
//! Without it an agent who was told to be free is not, or a reservation that a caller was promised never was.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use trunkline_domain::agent_state::Reply;
use trunkline_domain::vocabulary::CommandId;

use super::{Committed, Verdict};
use crate::voter::disk::Entry;

pub(crate) const NAME: &str = "acknowledged_is_kept";

/// The committed log, what it answered first, and what clients were told.
#[derive(Debug, Default)]
pub(crate) struct AcknowledgedIsKept {
    entries: Vec<Rc<Entry>>,
    answers: BTreeMap<CommandId, Reply>,
    acknowledged: BTreeMap<CommandId, Reply>,
    /// Those whose answers nobody keeps: each time they are taken anew.
    unkept: BTreeSet<CommandId>,
}

impl AcknowledgedIsKept {
    /// The index behind the last that is committed.
    pub(crate) fn next_index(&self) -> u64 {
        self.entries.len() as u64 + 1
    }

    /// How many commands clients were told of.
    pub(crate) fn acknowledged_count(&self) -> usize {
        self.acknowledged.len()
    }

    pub(crate) fn commit(&mut self, entry: &Rc<Entry>) {
        self.entries.push(Rc::clone(entry));
    }

    /// A voter applied an entry that is committed: it must be that one.
    pub(crate) fn applied(&self, voter: u32, entry: &Rc<Entry>) -> Verdict {
        match self.entries.get(entry.index as usize - 1) {
            Some(known) if Rc::ptr_eq(known, entry) || known == entry => Ok(()),
            Some(known) => Err(format!(
                "voter {voter} applied an entry of term {} at index {}, where one of term {} was committed",
                entry.term, entry.index, known.term
            )),
            None => Err(format!("voter {voter} applied index {}, which is not committed", entry.index)),
        }
    }

    pub(crate) fn committed(&mut self, it: &Committed<'_>) -> Verdict {
        if !it.command.action.remembered() {
            self.unkept.insert(it.command.command_id.clone());
        } else if !it.repeated {
            self.answers.insert(it.command.command_id.clone(), it.reply.clone());
        }
        Ok(())
    }

    pub(crate) fn acknowledge(&mut self, command_id: &CommandId, reply: &Reply) -> Verdict {
        self.acknowledged.insert(command_id.clone(), reply.clone());
        match self.answers.get(command_id) {
            Some(known) if known != reply => {
                Err(format!("{command_id} was acknowledged as {reply:?}, what counts is {known:?}"))
            }
            _ => Ok(()),
        }
    }

    pub(crate) fn end(&self) -> Verdict {
        for command_id in self.acknowledged.keys() {
            if !self.answers.contains_key(command_id) && !self.unkept.contains(command_id) {
                return Err(format!("{command_id} was acknowledged and is in no committed entry"));
            }
        }
        Ok(())
    }
}
