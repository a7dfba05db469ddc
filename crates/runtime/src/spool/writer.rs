//! The typed end of a courier.

use std::marker::PhantomData;

use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use trunkline_domain::facts::{Delivered, Outcome};
use trunkline_domain::vocabulary::{Cell, Epoch, Position};
use trunkline_proto::convert::WireFact;

use super::courier::{Courier, UNSETTLED_COUNT_MAX, Wish};
use super::{Lane, Spool, SpoolError};
use crate::event_log::{LogError, SharedLog};
use crate::facts::{FactReader, TRACEPARENT};

/// The one writer of a lane in one epoch, which goes on while the log cannot be written. Many may append at the same time;
/// each appender's facts keep their order.
///
/// A record that is acknowledged is durable in the log or in the spool, and comes to be in the log behind all that were
/// acknowledged before it.
pub struct SpooledWriter<F> {
    lane: Lane,
    record_bytes_max: usize,
    wishes: mpsc::Sender<Wish>,
    ended: CancellationToken,
    facts: PhantomData<fn(F)>,
}

impl<F: WireFact> SpooledWriter<F> {
    /// Begins `epoch` of `lane` with a fence record; returns when that is durable in the log, with its position. What an
    /// earlier epoch left in the spool must have been drained ([`Spool::drain`]): behind this fence it is void.
    ///
    /// The epoch must be one this lane has never had; see [`SpooledWriter::catch_up`].
    ///
    /// # Errors
    /// When the fence record cannot be appended. A fence is never spooled: it has its effect in the log or not at all.
    pub async fn open(
        log: &SharedLog,
        spool: &Spool,
        cell: Cell,
        lane: &str,
        epoch: Epoch,
    ) -> Result<(Self, Position), LogError> {
        let lane = Lane { log: F::LOG, cell, name: lane.to_owned(), epoch };
        let position = log.append(F::LOG, cell, lane.fence())?.await?;
        let (wishes, inbox) = mpsc::channel(UNSETTLED_COUNT_MAX);
        let ended = CancellationToken::new();
        let record_bytes_max = spool.options().record_bytes_max;
        let courier = Courier::begin(log.clone(), spool.clone(), lane.clone(), inbox, ended.clone());
        tokio::spawn(courier.run());
        Ok((Self { lane, record_bytes_max, wishes, ended, facts: PhantomData }, position))
    }

    /// Folds the writer's own log up to its fence record, and checks that this fence holds.
    ///
    /// # Errors
    /// [`LogError::Fenced`] when a newer owner, or an earlier use of the same epoch, stands before the fence: this writer
    /// must not decide anything. Else as of [`FactReader::next`].
    pub async fn catch_up(
        &self,
        reader: &mut FactReader<F>,
        fence: Position,
        fold: impl FnMut(Delivered<F>),
    ) -> Result<(), LogError> {
        reader.fold_to(fence, fold).await?;
        let Lane { log, cell, name, epoch } = &self.lane;
        match reader.fence().lane(name) {
            Some(found) if found.epoch == *epoch && found.sequence == 0 => Ok(()),
            found => Err(LogError::Fenced {
                log: *log,
                cell: *cell,
                lane: name.clone(),
                epoch: *epoch,
                current: found.map_or(Epoch(0), |found| found.epoch),
            }),
        }
    }

    /// Appends one outcome behind all earlier ones; returns when it is durable. Waits while too much is under way.
    ///
    /// Dropped before that, the outcome may be appended or not.
    ///
    /// # Errors
    /// [`LogError::TooLarge`]: nothing was taken, the writer goes on. Every other error is the end of the writer, for
    /// everybody: from then on [`SpoolError::Ended`].
    ///
    /// # Panics
    /// When the outcome carries another epoch than the writer's: a decision of another owner.
    pub async fn append(&self, outcome: &Outcome<F>) -> Result<(), SpoolError> {
        assert_eq!(outcome.epoch, self.lane.epoch, "an outcome is appended by the owner who decided it");
        let traceparent = outcome.facts.iter().map(|f| &f.meta.traceparent).find(|text| !text.is_empty());
        let headers: Vec<_> =
            traceparent.map(|text| (TRACEPARENT.to_owned(), text.clone())).into_iter().collect();
        let payload = F::encode_outcome(outcome);
        let size = self.lane.record(0, headers.clone(), payload.clone()).size();
        if size > self.record_bytes_max {
            let (log, size_max) = (F::LOG, self.record_bytes_max);
            return Err(LogError::TooLarge { log, size, size_max }.into());
        }
        let (reply, told) = oneshot::channel();
        let wish = Wish { headers, payload, since: Instant::now(), reply };
        self.wishes.send(wish).await.map_err(|_| self.over())?;
        told.await.unwrap_or_else(|_| Err(self.over()))
    }

    /// Ends the writer, and returns when it is over. What waits for its acknowledgement fails; what the spool holds stays
    /// on disk for [`Spool::drain`].
    pub async fn end(&self) {
        self.ended.cancel();
        self.wishes.closed().await;
    }

    /// The lane written.
    pub fn lane(&self) -> &str {
        &self.lane.name
    }

    /// The epoch written under.
    pub fn epoch(&self) -> Epoch {
        self.lane.epoch
    }

    fn over(&self) -> SpoolError {
        SpoolError::Ended { log: self.lane.log, cell: self.lane.cell, lane: self.lane.name.clone() }
    }
}
