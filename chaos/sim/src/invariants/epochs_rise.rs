//! The epochs of a resource only rise, and each has one holder.
//!
//! Without it two owners believe in the same fence.

use std::collections::BTreeMap;

use trunkline_domain::facts::AgentFact;
use trunkline_domain::vocabulary::{Epoch, NodeId};

use super::{Committed, Verdict};

pub(crate) const NAME: &str = "epochs_rise";

/// Each resource's highest epoch, and who holds it.
#[derive(Debug, Default)]
pub(crate) struct EpochsRise(BTreeMap<String, (Epoch, Option<NodeId>)>);

impl EpochsRise {
    pub(crate) fn committed(&mut self, it: &Committed<'_>) -> Verdict {
        for (_, posted) in it.facts {
            match &posted.fact {
                AgentFact::LeaseGranted { resource, holder, epoch, .. } => {
                    self.granted(resource, holder, *epoch)?;
                }
                AgentFact::LeaseLapsed { resource, epoch, .. }
                | AgentFact::LeaseReleased { resource, epoch, .. } => match self.0.get_mut(resource) {
                    Some((current, holder)) if current == epoch && holder.is_some() => *holder = None,
                    _ => return Err(format!("epoch {epoch} of {resource} ended and was not held")),
                },
                _ => {}
            }
        }
        Ok(())
    }

    fn granted(&mut self, resource: &str, holder: &NodeId, epoch: Epoch) -> Verdict {
        let known = self.0.insert(resource.to_owned(), (epoch, Some(holder.clone())));
        match known {
            Some((before, _)) if before >= epoch => {
                Err(format!("{resource} was granted with epoch {epoch} after {before}"))
            }
            Some((before, Some(other))) if other != *holder => {
                Err(format!("{resource} was granted to {holder} while {other} held it with epoch {before}"))
            }
            _ => Ok(()),
        }
    }
}
