//! The promise given for an append.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use tokio::sync::oneshot;
use trunkline_domain::vocabulary::{Cell, LogName, Position};

use super::LogError;

/// Resolves to the record's position when the record is durable, or to the reason why it is not (or may not be).
/// Dropping it does not take the record back.
#[must_use = "an append is not durable until its ticket says so"]
pub struct AppendTicket {
    log: LogName,
    cell: Cell,
    outcome: oneshot::Receiver<Result<Position, LogError>>,
    poison: Option<Arc<AtomicBool>>,
    observer: Option<Observer>,
}

/// Told once what a ticket resolved to.
type Observer = Box<dyn FnOnce(&Result<Position, LogError>) + Send + Sync>;

/// The log's end of an [`AppendTicket`]. Dropped unused, it resolves the ticket to [`LogError::Closed`].
#[derive(Debug)]
pub struct Completion(oneshot::Sender<Result<Position, LogError>>);

impl AppendTicket {
    /// A ticket and what resolves it.
    pub fn new(log: LogName, cell: Cell) -> (Completion, Self) {
        let (sender, outcome) = oneshot::channel();
        (Completion(sender), Self { log, cell, outcome, poison: None, observer: None })
    }

    /// The same ticket, which raises `flag` when it sees a failure.
    pub(crate) fn poisoning(mut self, flag: Arc<AtomicBool>) -> Self {
        self.poison = Some(flag);
        self
    }

    /// The same ticket, which tells `observer` what it resolves to, when its holder sees it.
    pub(crate) fn observed(
        mut self,
        observer: impl FnOnce(&Result<Position, LogError>) + Send + Sync + 'static,
    ) -> Self {
        self.observer = Some(Box::new(observer));
        self
    }
}

impl fmt::Debug for AppendTicket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AppendTicket({}/{})", self.log, self.cell)
    }
}

impl Completion {
    /// Resolves the ticket. Nobody may be waiting any more; that is fine.
    pub fn resolve(self, outcome: Result<Position, LogError>) {
        let _ = self.0.send(outcome);
    }
}

impl Future for AppendTicket {
    type Output = Result<Position, LogError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let received = ready!(Pin::new(&mut self.outcome).poll(context));
        let outcome = received.unwrap_or(Err(LogError::Closed { log: self.log, cell: self.cell }));
        if let (Err(_), Some(flag)) = (&outcome, &self.poison) {
            flag.store(true, Ordering::Release);
        }
        if let Some(observer) = self.observer.take() {
            observer(&outcome);
        }
        Poll::Ready(outcome)
    }
}
