//! What the router said, in its order: appends that are on their way to the disk, and what stands on them.

use std::collections::VecDeque;

use trunkline_runtime::event_log::{AppendTicket, LogError};

use crate::effects::Effects;

/// Something to be done once everything before it is durable.
type Deed = Box<dyn FnOnce(&mut Effects) + Send>;

enum Step {
    Durable(AppendTicket),
    Do(Deed),
}

/// Deeds in line behind the appends they stand on. The owner does not wait for the disk: it goes on deciding, and many
/// appends share one flush.
#[derive(Default)]
pub(crate) struct Line(VecDeque<Step>);

impl Line {
    pub(crate) fn append(&mut self, ticket: AppendTicket) {
        self.0.push_back(Step::Durable(ticket));
    }

    pub(crate) fn put(&mut self, deed: impl FnOnce(&mut Effects) + Send + 'static) {
        self.0.push_back(Step::Do(Box::new(deed)));
    }

    /// Does what stands on nothing any more.
    pub(crate) fn advance(&mut self, effects: &mut Effects) {
        while let Some(Step::Do(_)) = self.0.front() {
            if let Some(Step::Do(deed)) = self.0.pop_front() {
                deed(effects);
            }
        }
    }

    /// Resolves when the oldest append is durable; never when there is none. Cancel-safe.
    ///
    /// # Errors
    /// When it is not, and may never be.
    pub(crate) async fn durable(&mut self) -> Result<(), LogError> {
        let Some(Step::Durable(ticket)) = self.0.front_mut() else { return std::future::pending().await };
        ticket.await?;
        self.0.pop_front();
        Ok(())
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}
