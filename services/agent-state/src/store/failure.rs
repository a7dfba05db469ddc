//! The first failure of the disk, which ends the replica.
//!
//! What a failed write or sync left on the disk is not known, so nothing is written behind it, and the one sentence that
//! says what failed, on which file and why is kept for whoever ends the process. openraft learns of it too, in words of
//! its own, and stops.

use std::sync::Arc;

use tokio::sync::watch;

use super::StoreError;

/// Keeps the first failure. Cheap to clone; clones are the same.
#[derive(Clone)]
pub struct Failure(Arc<watch::Sender<Option<Arc<StoreError>>>>);

impl Default for Failure {
    fn default() -> Self {
        Self(Arc::new(watch::channel(None).0))
    }
}

impl Failure {
    /// Keeps an error, unless there was one before.
    pub fn note(&self, error: StoreError) {
        self.0.send_if_modified(|first| {
            let fresh = first.is_none();
            first.get_or_insert_with(|| Arc::new(error));
            fresh
        });
    }

    /// The first failure, if there was one.
    pub fn seen(&self) -> Option<Arc<StoreError>> {
        self.0.borrow().clone()
    }

    /// Resolves at the first failure. Cancel-safe.
    pub async fn failed(&self) -> Arc<StoreError> {
        let mut seen = self.0.subscribe();
        loop {
            if let Some(error) = seen.borrow_and_update().clone() {
                return error;
            }
            if seen.changed().await.is_err() {
                // The sender lives in `self`: the channel cannot close while we wait.
                std::future::pending::<()>().await;
            }
        }
    }
}
