//! What is measured, of either: a place that one thing at a time is reserved at, and given back.

use prost::Message as _;
use trunkline_proto::agent_state::v1::logged_command::Action as Logged;

use super::etcd::{Client, compare_and_swap};
use crate::Failure;
use crate::floor::{Floor, Offer, decided, logged_bytes, token};

/// A place that one thing at a time is reserved at. Each has its own user, so nothing is ever refused.
pub(super) trait Seat: Send + 'static {
    /// Reserves it; durable at a majority when this is over.
    fn reserve(&mut self) -> impl Future<Output = Result<(), Failure>> + Send;
    /// Gives it back; likewise.
    fn release(&mut self) -> impl Future<Output = Result<(), Failure>> + Send;
}

/// An agent of ours.
pub(super) struct Agent {
    floor: Floor,
    number: usize,
    /// Tells the offers of one round and case from those of another.
    series: usize,
    offer_count: usize,
    held: Option<(Offer, u64)>,
}

impl Agent {
    pub fn new(floor: &Floor, number: usize, series: usize) -> Self {
        Self { floor: floor.clone(), number, series, offer_count: 0, held: None }
    }
}

impl Seat for Agent {
    async fn reserve(&mut self) -> Result<(), Failure> {
        self.offer_count += 1;
        let name = format!("{}-{}-{}", self.series, self.number, self.offer_count);
        let offer = Offer { agent: self.number, name };
        let request = self.floor.reserve(&offer);
        let answer = decided(|| self.floor.client().reserve_agents(request.clone())).await?;
        let refusal = || {
            let answers = answer.answers.iter().map(|it| it.refusal.as_str());
            Failure::new(format!("a reservation was refused: {}", answers.collect::<String>()))
        };
        self.held = Some((offer, token(&answer).ok_or_else(refusal)?));
        Ok(())
    }

    async fn release(&mut self) -> Result<(), Failure> {
        let (offer, token) =
            self.held.take().ok_or_else(|| Failure::new("nothing is reserved at this agent"))?;
        let request = self.floor.release(&offer, token);
        let answer = decided(|| self.floor.client().release_reservation(request.clone())).await?;
        if answer.released { Ok(()) } else { Err(Failure::new("a reservation was gone before its release")) }
    }
}

/// How many bytes one command of each kind has in a Raft log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub(super) struct Sizes {
    pub reserve: usize,
    pub release: usize,
}

impl Sizes {
    /// Of ours.
    pub fn of(floor: &Floor) -> Self {
        let offer = Offer { agent: 0, name: "1-100-1000".to_owned() };
        Self {
            reserve: logged_bytes(Logged::ReserveAgents(floor.reserve(&offer))),
            release: logged_bytes(Logged::ReleaseReservation(floor.release(&offer, 1 << 20))),
        }
    }
}

/// A key of etcd.
pub(super) struct Key {
    client: Client,
    key: Vec<u8>,
    /// At which it was last written; 0 when it is not there.
    mod_revision: i64,
    /// What is written, so that the transaction has as many bytes as our command.
    held: Vec<u8>,
    free: Vec<u8>,
}

impl Key {
    /// A key that nobody has used.
    pub fn new(client: &Client, number: usize, series: usize, sizes: Sizes) -> Self {
        let key = format!("agents/{series}-{number}").into_bytes();
        let value = |size: usize| filling(&key, size);
        let (held, free) = (value(sizes.reserve), value(sizes.release));
        Self { client: client.clone(), key, mod_revision: 0, held, free }
    }

    async fn swap(&mut self, value: Vec<u8>) -> Result<(), Failure> {
        let request = compare_and_swap(&self.key, self.mod_revision, value);
        self.mod_revision = self.client.swap(request).await?;
        Ok(())
    }
}

impl Seat for Key {
    async fn reserve(&mut self) -> Result<(), Failure> {
        self.swap(self.held.clone()).await
    }

    async fn release(&mut self) -> Result<(), Failure> {
        self.swap(self.free.clone()).await
    }
}

/// The value with which a transaction on the key has about `size` bytes, once revisions are in the thousands.
fn filling(key: &[u8], size: usize) -> Vec<u8> {
    let without = compare_and_swap(key, 1 << 14, Vec::new()).encoded_len();
    // A value that is there has a tag and a length of its own, and lengthens those of what it is in.
    let mut value = vec![b'.'; size.saturating_sub(without)];
    while !value.is_empty() && compare_and_swap(key, 1 << 14, value.clone()).encoded_len() > size {
        value.pop();
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transaction_has_as_many_bytes_as_our_command() {
        for size in [120, 180, 250, 300] {
            let value = filling(b"agents/3-17", size);
            assert_eq!(compare_and_swap(b"agents/3-17", 20_000, value).encoded_len(), size);
        }
    }
}
