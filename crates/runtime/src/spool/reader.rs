//! Reading the spool for the drain: the next record to send, whichever reel it is in.

use std::path::PathBuf;

use super::reel::Reel;
use crate::event_log::{LogError, Record, RecordStream};

/// A cursor in one reel.
struct Cursor {
    /// Which one, by its directory.
    reel: PathBuf,
    stream: Box<dyn RecordStream>,
    /// The last record that came out of the stream.
    last: Option<Record>,
}

/// Reads the spool from any sequence on.
#[derive(Default)]
pub(super) struct Reader(Option<Cursor>);

impl Reader {
    /// The record of that sequence, when it is the last one read.
    pub fn at(&self, sequence: u64) -> Option<&Record> {
        self.0.as_ref()?.last.as_ref().filter(|record| record.sequence == sequence)
    }

    /// Stands at or before a sequence, in the reel that holds it.
    pub async fn aim(&mut self, reel: &Reel, sequence: u64) -> Result<(), LogError> {
        let before = self.0.as_ref().is_some_and(|cursor| {
            let passed = cursor.last.as_ref().is_some_and(|record| record.sequence > sequence);
            cursor.reel == reel.dir && !passed
        });
        if !before {
            let stream = reel.read().await?;
            self.0 = Some(Cursor { reel: reel.dir.clone(), stream, last: None });
        }
        Ok(())
    }

    /// Reads on to the record of that sequence, which must be in the reel or still come. Cancel-safe.
    pub async fn read_to(&mut self, sequence: u64) -> Result<(), LogError> {
        let Some(cursor) = &mut self.0 else { return Ok(()) };
        while cursor.last.as_ref().is_none_or(|record| record.sequence < sequence) {
            cursor.last = Some(cursor.stream.next().await?.record);
        }
        Ok(())
    }

    /// Forgets where it stood: its reel goes.
    pub fn leave(&mut self) {
        self.0 = None;
    }
}
