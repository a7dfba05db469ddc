//! A blind media node, without a log to write: holds contacts, rings agents, connects them, and says how each ended.

use std::collections::BTreeMap;

use trunkline_domain::agent_state::{Action, Done, Reply};
use trunkline_domain::facts::ReleaseOutcome;
use trunkline_domain::vocabulary::{AgentId, ContactId, Epoch, Millis, NodeId, OfferId, Timestamp};

use super::asks::Answered;
use super::{Asks, Lease};
use crate::bug::Bug;
use crate::message::{Message, Offer};
use crate::turn::{Effect, Phase, Turn};

/// Contacts that wait at once.
const WAITING_COUNT_MAX: usize = 3;

/// One media node, in one life.
#[derive(Debug)]
pub(crate) struct Media {
    pub(crate) node_id: NodeId,
    asks: Asks,
    lease: Lease,
    /// The epoch its calls are under.
    epoch: Option<Epoch>,
    calls: BTreeMap<ContactId, Call>,
    contact_count: u64,
    /// What became of contacts whose end could not be said under the epoch they had.
    untold: Vec<(Offer, ReleaseOutcome)>,
}

#[derive(Debug)]
struct Call {
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    /// Until the caller's patience ends.
    Waiting {
        until: Timestamp,
    },
    /// The device rings; `answers_at` is when the agent does something about it.
    Ringing {
        offer: Offer,
        answers_at: Timestamp,
        answer: RingEnd,
    },
    /// The agent answered; agent-state is asked whether it may be.
    Accepting {
        offer: Offer,
    },
    Talking {
        offer: Offer,
        ends_at: Timestamp,
    },
    Ending {
        offer: Offer,
    },
}

/// How ringing ends.
#[derive(Debug, Clone, Copy)]
enum RingEnd {
    Answered,
    Outcome(ReleaseOutcome),
}

impl Media {
    /// `life` makes the names of its commands and contacts unique.
    pub(crate) fn new(node_id: NodeId, life: u32) -> Self {
        let name = node_id.as_str().trim_start_matches("nod_").to_owned();
        let asks = Asks::new(format!("{name}-{life}"));
        let lease = Lease::new(format!("media/{node_id}"), node_id.clone(), "10.0.0.1:1".to_owned());
        let (calls, untold) = (BTreeMap::new(), Vec::new());
        let contact_count = u64::from(life) * 100_000;
        Self { node_id, asks, lease, epoch: None, calls, contact_count, untold }
    }

    /// Who waits here.
    pub(crate) fn waiting(&self) -> impl Iterator<Item = &ContactId> {
        let waits = |call: &Call| matches!(call.stage, Stage::Waiting { .. });
        self.calls.iter().filter(move |(_, call)| waits(call)).map(|(id, _)| id)
    }

    pub(crate) fn tick(&mut self, turn: &mut Turn<'_>) {
        if turn.sight.phase == Phase::Quiet {
            self.calls.clear();
            return self.asks.forget();
        }
        self.asks.tick(turn);
        self.lease.tick(&mut self.asks, turn);
        self.look_at_lease();
        if let Some(held) = self.epoch {
            for (offer, outcome) in std::mem::take(&mut self.untold) {
                self.release(offer, outcome, held, turn);
            }
        }
        if turn.sight.phase == Phase::Storm {
            self.callers_come(turn);
        }
        let ids: Vec<ContactId> = self.calls.keys().cloned().collect();
        for contact_id in ids {
            self.step(&contact_id, turn);
        }
    }

    /// Whoever is connected is cut off; under the next epoch it is said how each ended.
    fn look_at_lease(&mut self) {
        let epoch = self.lease.epoch();
        if self.epoch == epoch {
            return;
        }
        self.epoch = epoch;
        for call in std::mem::take(&mut self.calls).into_values() {
            match call.stage {
                Stage::Talking { offer, .. } => self.untold.push((offer, ReleaseOutcome::Completed)),
                Stage::Ringing { offer, .. } | Stage::Accepting { offer } => {
                    self.untold.push((offer, ReleaseOutcome::Failed));
                }
                Stage::Waiting { .. } | Stage::Ending { .. } => {}
            }
        }
    }

    fn callers_come(&mut self, turn: &mut Turn<'_>) {
        let waiting = self.waiting().count();
        if self.epoch.is_some() && waiting < WAITING_COUNT_MAX && turn.chance.happens(250) {
            self.contact_count += 1;
            let name = self.node_id.as_str().trim_start_matches("nod_");
            let contact_id = ContactId::from_name(&format!("{name}-{}", self.contact_count))
                .expect("letters, digits and dashes");
            let until = turn.now + Millis(turn.chance.between(1_500, 8_000));
            self.calls.insert(contact_id, Call { stage: Stage::Waiting { until } });
        }
    }

    fn step(&mut self, contact_id: &ContactId, turn: &mut Turn<'_>) {
        let (now, held) = (turn.now, self.epoch);
        let Some(call) = self.calls.get_mut(contact_id) else { return };
        match &call.stage {
            Stage::Waiting { until } if now >= *until || turn.sight.phase != Phase::Storm => {
                self.calls.remove(contact_id);
            }
            Stage::Ringing { offer, answers_at, answer } if now >= *answers_at => {
                let (offer, answer) = (offer.clone(), *answer);
                match (answer, held) {
                    (RingEnd::Answered, _) if turn.has(Bug::BridgeUnasked) => {
                        self.bridge(contact_id, offer, turn);
                    }
                    (RingEnd::Answered, Some(held)) => {
                        call.stage = Stage::Accepting { offer: offer.clone() };
                        let accept = Action::AcceptReservation {
                            agent_id: offer.agent_id,
                            offer_id: offer.offer_id,
                            token: offer.token,
                            node_id: self.node_id.clone(),
                            media_epoch: held,
                        };
                        self.asks.ask(accept, None, turn);
                    }
                    (RingEnd::Outcome(outcome), Some(held)) => {
                        self.calls.remove(contact_id);
                        self.release(offer, outcome, held, turn);
                    }
                    (_, None) => drop(self.calls.remove(contact_id)),
                }
            }
            Stage::Talking { offer, ends_at } if now >= *ends_at => {
                let offer = offer.clone();
                call.stage = Stage::Ending { offer: offer.clone() };
                match held {
                    Some(held) => self.release(offer, ReleaseOutcome::Completed, held, turn),
                    None => self.untold.push((offer, ReleaseOutcome::Completed)),
                }
            }
            _ => {}
        }
    }

    fn release(&mut self, offer: Offer, outcome: ReleaseOutcome, held: Epoch, turn: &mut Turn<'_>) {
        let release = Action::ReleaseReservation {
            agent_id: offer.agent_id,
            offer_id: offer.offer_id,
            token: offer.token,
            outcome,
            node_id: self.node_id.clone(),
            epoch: held,
        };
        self.asks.ask(release, None, turn);
    }

    fn bridge(&mut self, contact_id: &ContactId, offer: Offer, turn: &mut Turn<'_>) {
        let probing = turn.sight.phase != Phase::Storm;
        let ends_at = turn.now + Millis(turn.chance.between(200, if probing { 400 } else { 4_000 }));
        turn.effects.push(Effect::Bridged { contact_id: contact_id.clone(), token: offer.token });
        if let Some(call) = self.calls.get_mut(contact_id) {
            call.stage = Stage::Talking { offer, ends_at };
        }
    }

    pub(crate) fn hear(&mut self, message: Message, turn: &mut Turn<'_>) {
        match message {
            Message::Offer(offer) => self.offered(offer, turn),
            Message::Answer { command_id, answer } => {
                if let Some(answered) = self.asks.hear(command_id, answer, turn) {
                    self.answered(answered, turn);
                }
            }
            _ => {}
        }
    }

    fn offered(&mut self, offer: Offer, turn: &mut Turn<'_>) {
        let probing = turn.sight.phase == Phase::Probe;
        if probing && !self.calls.contains_key(&offer.contact_id) {
            let stage = Stage::Waiting { until: turn.now };
            self.calls.insert(offer.contact_id.clone(), Call { stage });
        }
        let Some(call) = self.calls.get_mut(&offer.contact_id) else { return };
        if !matches!(call.stage, Stage::Waiting { .. }) {
            return;
        }
        let answer = match turn.chance.below(100) {
            _ if probing => RingEnd::Answered,
            0..70 => RingEnd::Answered,
            70..80 => RingEnd::Outcome(ReleaseOutcome::Declined),
            80..90 => RingEnd::Outcome(ReleaseOutcome::Unanswered),
            _ => RingEnd::Outcome(ReleaseOutcome::CallerGone),
        };
        let answers_at = turn.now + Millis(turn.chance.between(100, if probing { 200 } else { 2_500 }));
        call.stage = Stage::Ringing { offer, answers_at, answer };
    }

    fn answered(&mut self, answered: Answered, turn: &mut Turn<'_>) {
        self.lease.hear(&answered, turn);
        self.look_at_lease();
        let Answered { action, reply, .. } = answered;
        match (action, reply) {
            (Action::AcceptReservation { agent_id, offer_id, token, .. }, reply) => {
                self.accepted((agent_id, offer_id, token), &reply, turn);
            }
            (Action::ReleaseReservation { agent_id, offer_id, outcome, .. }, reply) => {
                self.calls.retain(
                    |_, call| !matches!(&call.stage, Stage::Ending { offer } if offer.offer_id == offer_id),
                );
                if outcome == ReleaseOutcome::Completed && reply == Ok(Done::Released { released: true }) {
                    turn.effects.push(Effect::Served { agent_id });
                }
            }
            _ => {}
        }
    }

    fn accepted(
        &mut self,
        (agent_id, offer_id, token): (AgentId, OfferId, u64),
        reply: &Reply,
        turn: &mut Turn<'_>,
    ) {
        let mut found = None;
        for (contact_id, call) in &self.calls {
            if let Stage::Accepting { offer } = &call.stage
                && offer.offer_id == offer_id
            {
                found = Some((contact_id.clone(), offer.clone()));
            }
        }
        match (found, reply) {
            (Some((contact_id, offer)), Ok(_)) => self.bridge(&contact_id, offer, turn),
            (Some((contact_id, _)), Err(_)) => drop(self.calls.remove(&contact_id)),
            (None, Ok(_)) => {
                // The call was cut off while agent-state was asked.
                let contact_id = ContactId::from_name("gone").expect("letters");
                let expires_at = turn.now;
                let offer = Offer { offer_id, agent_id, contact_id, token, expires_at };
                self.untold.push((offer, ReleaseOutcome::Completed));
            }
            (None, Err(_)) => {}
        }
    }
}
