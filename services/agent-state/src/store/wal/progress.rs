//! How much of the log is durable here. A majority decides what is committed, and this replica's own disk may lag behind.
//! Whatever must not get ahead of that disk waits here.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use super::writer::Done;

/// Counts writes. Cheap to clone; clones are the same.
#[derive(Clone, Default)]
pub struct Progress(Arc<Counts>);

#[derive(Default)]
struct Counts {
    taken: AtomicU64,
    durable: Mutex<Durable>,
    changed: Condvar,
}

#[derive(Default)]
struct Durable {
    /// Everything up to this write is.
    through: u64,
    /// Whether a write was lost: nothing behind it will ever be.
    lost: bool,
}

/// A write that was taken. Dropped untold, it is lost.
struct Counted {
    progress: Progress,
    number: u64,
    told: bool,
}

impl Progress {
    /// Counts a write, which is durable once the result is told that it is.
    pub(super) fn count(&self, done: Done) -> Done {
        let number = self.0.taken.fetch_add(1, Ordering::AcqRel) + 1;
        let counted = Counted { progress: self.clone(), number, told: false };
        Box::new(move |result| {
            counted.tell(result.is_ok());
            done(result);
        })
    }

    /// How many writes were taken so far.
    pub fn taken(&self) -> u64 {
        self.0.taken.load(Ordering::Acquire)
    }

    /// Blocks until so many writes are durable; says whether they are, or never will be.
    pub fn wait(&self, taken: u64) -> bool {
        let mut durable = self.durable();
        while durable.through < taken && !durable.lost {
            durable = self.0.changed.wait(durable).unwrap_or_else(PoisonError::into_inner);
        }
        durable.through >= taken
    }

    fn durable(&self) -> MutexGuard<'_, Durable> {
        self.0.durable.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Counted {
    fn tell(mut self, durable: bool) {
        if durable {
            self.told = true;
            // In the order in which they were taken: there is one writer.
            self.progress.durable().through = self.number;
            self.progress.0.changed.notify_all();
        }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        if !self.told {
            self.progress.durable().lost = true;
            self.progress.0.changed.notify_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_taken_is_waited_for_and_what_was_lost_is_not() {
        let progress = Progress::default();
        let write = || progress.count(Box::new(drop));
        assert!(progress.wait(0));
        let (first, second, third) = (write(), write(), write());
        assert_eq!(progress.taken(), 3);
        first(Ok(()));
        assert!(progress.wait(1));
        let waits = std::thread::spawn({
            let progress = progress.clone();
            move || (progress.wait(2), progress.wait(3))
        });
        second(Ok(()));
        third(Err(std::io::Error::other("no space")));
        assert_eq!(waits.join().unwrap(), (true, false));
        drop(write());
        assert!(!progress.wait(4) && progress.wait(2));
    }
}
