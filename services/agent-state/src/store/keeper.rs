//! The one thread that brings the state database up to date with the applied state, a little behind it.
//!
//! The database can be rebuilt from the snapshot and the log, so nobody waits for it; and sled wakes all its threads for each
//! batch, which, done for each entry, took more of a small machine than everything else. An agent that changes ten times
//! between two batches is one row of the next.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// How far the database may lag behind. A replica that is started again applies what was committed in so long a time once
/// more, which takes a small part of it.
const KEEP_EVERY: Duration = Duration::from_millis(250);

/// Wakes the thread. Dropped, it ends it and waits until it has ended.
pub struct Keeper {
    bell: Arc<Bell>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Bell {
    state: Mutex<Rung>,
    changed: Condvar,
}

#[derive(Default)]
struct Rung {
    due: bool,
    stopped: bool,
}

impl Keeper {
    /// Calls `keep` some time after something became due, and never twice at once; no more once it gives `false`.
    ///
    /// # Errors
    /// When the system refuses the thread.
    pub fn start(mut keep: impl FnMut() -> bool + Send + 'static) -> std::io::Result<Self> {
        let bell = Arc::new(Bell::default());
        let heard = bell.clone();
        let run = move || while heard.wait() && keep() {};
        let thread = std::thread::Builder::new().name("agent-state-db".to_owned()).spawn(run)?;
        Ok(Self { bell, thread: Some(thread) })
    }

    /// Something is to be kept.
    pub fn due(&self) {
        let mut rung = self.bell.rung();
        if !rung.due {
            rung.due = true;
            self.bell.changed.notify_one();
        }
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.bell.rung().stopped = true;
        self.bell.changed.notify_one();
        // A thread that panicked has said so.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

impl Bell {
    fn rung(&self) -> MutexGuard<'_, Rung> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until something is due and a while has passed; says whether there is something. What is due when it is stopped
    /// comes at once.
    fn wait(&self) -> bool {
        let idle = |rung: &mut Rung| !rung.due && !rung.stopped;
        let rung = self.changed.wait_while(self.rung(), idle).unwrap_or_else(PoisonError::into_inner);
        let pause = self.changed.wait_timeout_while(rung, KEEP_EVERY, |rung| !rung.stopped);
        let (mut rung, _) = pause.unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut rung.due)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[test]
    fn what_is_due_is_kept_at_the_latest_when_it_ends() {
        let kept = Arc::new(AtomicU32::new(0));
        let counted = kept.clone();
        let keeper = Keeper::start(move || {
            counted.fetch_add(1, Ordering::Relaxed);
            true
        });
        let keeper = keeper.unwrap();
        for _ in 0..1_000 {
            keeper.due();
        }
        drop(keeper);
        // Once for all of them, unless the machine stood still in the middle.
        assert!((1..1_000).contains(&kept.load(Ordering::Relaxed)));
        drop(Keeper::start(|| unreachable!("nothing was due")).unwrap());
    }
}
