//! Whether a majority still answers this leader.
//!
//! A leader that reaches no majority leads on in openraft and never steps down, so each command would wait for its whole
//! time. Here is what says so at once.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use openraft::{Instant as _, ServerState};
use tokio::time::Instant;

use super::types::Metrics;

/// What is known of the majority. Cheap to clone; clones are the same.
#[derive(Clone)]
pub struct Quorum {
    silent_max: Duration,
    /// The term this replica leads in and nobody has answered it yet, and since when.
    unheard: Arc<Mutex<Option<(u64, Instant)>>>,
}

impl Quorum {
    /// A majority may be silent for `silent_max`.
    pub fn new(silent_max: Duration) -> Self {
        Self { silent_max, unheard: Arc::default() }
    }

    /// Whether this replica leads and a majority has been silent for too long.
    pub fn silent(&self, metrics: &Metrics) -> bool {
        self.silent_at(metrics, Instant::now())
    }

    fn silent_at(&self, metrics: &Metrics, now: Instant) -> bool {
        let mut unheard = self.unheard.lock().unwrap_or_else(PoisonError::into_inner);
        if metrics.state != ServerState::Leader {
            *unheard = None;
            return false;
        }
        // The only voter is a majority.
        if metrics.membership_config.voter_ids().eq([metrics.id]) {
            *unheard = None;
            return false;
        }
        if let Some(acknowledged) = metrics.last_quorum_acked {
            *unheard = None;
            return acknowledged.elapsed() > self.silent_max;
        }
        let term = metrics.current_term;
        let (_, since) = unheard.take_if(|(of, _)| *of == term).unwrap_or((term, now));
        *unheard = Some((term, since));
        now.saturating_duration_since(since) > self.silent_max
    }
}

#[cfg(test)]
mod tests {
    use openraft::TokioInstant;
    use openraft::metrics::SerdeInstant;

    use super::*;

    #[test]
    fn a_majority_is_silent_when_it_answered_long_ago_or_never() {
        let quorum = Quorum::new(Duration::from_secs(1));
        let metrics = |state, term, answered_ms: Option<u64>| {
            let ago = |ms| SerdeInstant::new(TokioInstant::now() - Duration::from_millis(ms));
            let mut metrics = Metrics::new_initial(7);
            (metrics.state, metrics.current_term) = (state, term);
            metrics.last_quorum_acked = answered_ms.map(ago);
            metrics
        };
        let leads = |term, answered| metrics(ServerState::Leader, term, answered);
        let mut now = Instant::now();
        for (after_ms, metrics, silent) in [
            (0, leads(1, Some(0)), false),
            (0, leads(1, Some(500)), false),
            (0, leads(1, Some(1_001)), true),
            (0, metrics(ServerState::Follower, 1, None), false),
            (0, leads(2, None), false),
            (1_000, leads(2, None), false),
            (1, leads(2, None), true),
            (0, leads(3, None), false),
            (500, leads(3, Some(20)), false),
            (700, leads(3, None), false),
        ] {
            now += Duration::from_millis(after_ms);
            assert_eq!(quorum.silent_at(&metrics, now), silent, "{metrics:?}");
        }
    }
}
