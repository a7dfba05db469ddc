//! One token, tracked tasks, an ordered drain with a deadline.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Asks a group of tasks to end, and waits until they have. Cheap to clone; clones are the same group.
#[derive(Clone, Default)]
pub struct Shutdown(Arc<Shared>);

#[derive(Default)]
struct Shared {
    token: CancellationToken,
    tasks: Mutex<Tasks>,
    ended: Notify,
}

#[derive(Default)]
struct Tasks {
    next: u64,
    live: BTreeMap<u64, Task>,
    panicked: Vec<&'static str>,
}

struct Task {
    name: &'static str,
    /// Absent for the instant between registering and spawning.
    abort: Option<AbortHandle>,
}

impl Shutdown {
    /// A group without tasks, not begun.
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks every task of the group to end. Asking again changes nothing.
    pub fn begin(&self) {
        self.0.token.cancel();
    }

    /// Resolves once shutdown has begun. Cancel-safe.
    pub async fn begun(&self) {
        self.0.token.cancelled().await;
    }

    /// Whether shutdown has begun.
    pub fn is_begun(&self) -> bool {
        self.0.token.is_cancelled()
    }

    /// Runs a task that [`Shutdown::drained`] waits for. The task is expected to end soon after [`Shutdown::begun`].
    ///
    /// A task that panics begins the shutdown of the whole group: half a service is worse than none.
    pub fn spawn(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        let number = {
            let mut tasks = self.tasks();
            tasks.next += 1;
            let number = tasks.next;
            tasks.live.insert(number, Task { name, abort: None });
            number
        };
        let end = TaskEnd { group: self.clone(), number, name };
        let handle = tokio::spawn(async move {
            let _end = end;
            task.await;
        });
        if let Some(task) = self.tasks().live.get_mut(&number) {
            task.abort = Some(handle.abort_handle());
        }
    }

    /// Begins, waits until every task has ended, and at the deadline cuts off those that have not.
    /// Returns the names of the tasks cut off, sorted; empty when all ended by themselves.
    pub async fn drained(&self, deadline: Duration) -> Vec<&'static str> {
        self.begin();
        let until = Instant::now() + deadline;
        if tokio::time::timeout_at(until, self.idle()).await.is_ok() {
            return Vec::new();
        }
        let mut cut: Vec<&'static str> = Vec::new();
        for task in self.tasks().live.values() {
            cut.push(task.name);
            if let Some(abort) = &task.abort {
                abort.abort();
            }
        }
        cut.sort_unstable();
        cut
    }

    /// The names of tasks that panicked, in the order they did.
    pub fn panicked(&self) -> Vec<&'static str> {
        self.tasks().panicked.clone()
    }

    async fn idle(&self) {
        loop {
            let mut ended = std::pin::pin!(self.0.ended.notified());
            ended.as_mut().enable();
            if self.tasks().live.is_empty() {
                return;
            }
            ended.await;
        }
    }

    fn tasks(&self) -> MutexGuard<'_, Tasks> {
        self.0.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes a task out of its group however it ends.
struct TaskEnd {
    group: Shutdown,
    number: u64,
    name: &'static str,
}

impl Drop for TaskEnd {
    fn drop(&mut self) {
        let mut tasks = self.group.tasks();
        tasks.live.remove(&self.number);
        if std::thread::panicking() {
            tasks.panicked.push(self.name);
            tracing::error!(task = self.name, "task panicked");
            self.group.begin();
        }
        drop(tasks);
        self.group.0.ended.notify_waiters();
    }
}

/// Groups that end one after the other: what takes work in first, what others stand on last.
#[derive(Clone, Default)]
pub struct Drain(Vec<(&'static str, Shutdown)>);

impl Drain {
    /// A drain without stages.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a stage that is drained when all stages added before it have been.
    pub fn stage(&mut self, name: &'static str) -> Shutdown {
        let stage = Shutdown::new();
        self.0.push((name, stage.clone()));
        stage
    }

    /// Resolves when any stage begins to end, by request or because one of its tasks panicked.
    pub async fn any_begun(&self) {
        let begun = self.0.iter().map(|(_, stage)| Box::pin(stage.begun()));
        futures::future::select_all(begun).await;
    }

    /// Drains stage by stage. A stage that is late takes from the time of those after it, but every stage is given at
    /// least a tenth of `deadline`. Returns what was cut off as `stage/task`, in order; empty when nothing was.
    pub async fn run(&self, deadline: Duration) -> Vec<String> {
        let until = Instant::now() + deadline;
        let mut cut = Vec::new();
        for (name, stage) in &self.0 {
            let left = until.saturating_duration_since(Instant::now()).max(deadline / 10);
            cut.extend(stage.drained(left).await.into_iter().map(|task| format!("{name}/{task}")));
        }
        cut
    }
}
