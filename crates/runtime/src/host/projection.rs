//! Folds logs into a state that queries read: load, catch up, ready, follow, save.

use std::sync::{Arc, RwLock, RwLockReadGuard};

use trunkline_domain::kernel::Projection;
use trunkline_domain::vocabulary::{Cell, LogName};

use super::sources::{Input, Marks, Sources};
use crate::event_log::{LogError, SharedLog};
use crate::health::Component;
use crate::shutdown::Shutdown;

/// Keeps a state together with how far it was folded. What it keeps is disposable: deleted, it is folded again.
pub trait Checkpoint<P>: Send {
    /// What was saved last; `None` when there is nothing that can be used, and then everything is folded again.
    ///
    /// # Errors
    /// When the store cannot be read. A state that is damaged or of another schema is `None`, not an error.
    fn load(&mut self) -> Result<Option<(P, Marks)>, CheckpointError>;

    /// Keeps both, in one atomic step.
    ///
    /// # Errors
    /// When the store cannot be written; what was saved before is still whole.
    fn save(&mut self, state: &P, marks: &Marks) -> Result<(), CheckpointError>;
}

/// Keeps nothing: for a state that is folded from the start each time.
pub struct NoCheckpoint;

impl<P> Checkpoint<P> for NoCheckpoint {
    fn load(&mut self) -> Result<Option<(P, Marks)>, CheckpointError> {
        Ok(None)
    }

    fn save(&mut self, _: &P, _: &Marks) -> Result<(), CheckpointError> {
        Ok(())
    }
}

/// The store of checkpoints failed.
#[derive(Debug, thiserror::Error)]
#[error("could not {action} the projection's checkpoint: {reason}")]
pub struct CheckpointError {
    /// What was attempted: `load` or `save`.
    pub action: &'static str,
    /// What the store said.
    pub reason: String,
}

/// Why a projection stands still.
#[derive(Debug, thiserror::Error)]
pub enum ProjectionError {
    /// A log could not be read on. Nothing is skipped.
    #[error("could not fold on")]
    Log(#[from] LogError),
    /// The state could not be kept.
    #[error("could not keep the folded state")]
    Checkpoint(#[from] CheckpointError),
}

/// A folded state, read by many while one folds. Cheap to clone.
pub struct Shared<P>(Arc<RwLock<P>>);

impl<P> Clone for Shared<P> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<P: Default> Default for Shared<P> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<P> Shared<P> {
    /// The state as of now. Held only as long as it takes to copy an answer out; never across an await.
    pub fn read(&self) -> RwLockReadGuard<'_, P> {
        self.0.read().expect("nothing panics while it folds: Projection::fold cannot fail")
    }

    fn change(&self, change: impl FnOnce(&mut P)) {
        change(&mut self.0.write().expect("nothing panics while it folds: Projection::fold cannot fail"));
    }
}

/// What a projection is made of.
pub struct ProjectionHost<P> {
    /// Where it reads.
    pub log: SharedLog,
    /// Which partitions.
    pub sources: Vec<(LogName, Cell)>,
    /// Where queries read.
    pub state: Shared<P>,
    /// Where it is kept.
    pub checkpoint: Box<dyn Checkpoint<P>>,
    /// It is saved after this many records, and at the end; at least 1.
    pub save_every_count: u32,
    /// What it says of itself.
    pub component: Component,
    /// When it ends.
    pub shutdown: Shutdown,
}

impl<P> ProjectionHost<P>
where
    P: Projection<Event = Input> + Send + Sync + 'static,
{
    /// Loads, catches up with the ends as they are, turns ready, and follows until shutdown begins; then saves.
    ///
    /// # Errors
    /// When a log cannot be read on or the state cannot be kept; the component then says why.
    pub async fn run(mut self) -> Result<(), ProjectionError> {
        let result = self.follow().await;
        if let Err(error) = &result {
            self.component.not_ready(match error {
                ProjectionError::Log(error) => error.to_string(),
                ProjectionError::Checkpoint(error) => error.to_string(),
            });
        }
        result
    }

    async fn follow(&mut self) -> Result<(), ProjectionError> {
        self.component.not_ready("folds the logs");
        let marks = match self.checkpoint.load()? {
            Some((saved, marks)) => {
                self.state.change(|state| *state = saved);
                marks
            }
            None => Marks::default(),
        };
        let mut sources = Sources::open(&self.log, &self.sources, &marks).await?;
        {
            let state = self.state.clone();
            let caught_up = sources.catch_up(|input| state.change(|state| state.fold(&input)));
            tokio::select! {
                biased;
                () = self.shutdown.begun() => return Ok(()),
                caught_up = caught_up => caught_up?,
            }
        }
        self.save(&sources)?;
        self.component.ready();
        let mut unsaved_count = 0;
        loop {
            let input = tokio::select! {
                biased;
                () = self.shutdown.begun() => break,
                input = sources.next() => input?,
            };
            self.state.change(|state| state.fold(&input));
            unsaved_count += 1;
            if unsaved_count >= self.save_every_count {
                self.save(&sources)?;
                unsaved_count = 0;
            }
        }
        self.save(&sources)
    }

    /// Between two records: the state is exactly what the marks say.
    fn save(&mut self, sources: &Sources) -> Result<(), ProjectionError> {
        Ok(self.checkpoint.save(&self.state.read(), &sources.marks())?)
    }
}
