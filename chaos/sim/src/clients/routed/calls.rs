//! One call: the real contact, and what its caller and the phone it rings do next.

use std::collections::VecDeque;

use trunkline_domain::facts::{ContactFact, LogFact, Meta, Recorded};
use trunkline_domain::kernel::Engine;
use trunkline_domain::media::{Contact, Input, Invited, Offer, Output, Plan, QueueTerms, Service};
use trunkline_domain::vocabulary::{
    CompanyId, ContactId, EventId, FlowId, LegId, Millis, NodeId, OfferId, QueueId, Timestamp,
};

use super::CELL;
use crate::chance::Chance;

/// A contact under way.
#[derive(Debug)]
pub(super) struct Call {
    contact: Contact,
    /// What it asked for and was not given yet.
    pub(super) outputs: VecDeque<Output>,
    /// What people do next.
    plans: Vec<(Timestamp, Input)>,
    /// The sequence in the lane of the last outcome; what follows waits for it.
    pub(super) waits_for: u64,
    /// The number of its last fact.
    fact_count: u64,
    /// The offer that was last made, with its token.
    pub(super) offer: Option<(OfferId, u64)>,
    /// Whether caller and agent hear each other.
    pub(super) bridged: bool,
}

/// What a contact needs to know of a queue.
pub(super) fn terms(queue_id: QueueId) -> QueueTerms {
    QueueTerms { queue_id, priority: 0, required_skills: Vec::new(), wait_ms_max: Millis(20_000) }
}

impl Call {
    /// A caller dials, and hangs up at `patience` unless served by then.
    pub(super) fn invited(contact_id: ContactId, node_id: NodeId, now: Timestamp, patience: Millis) -> Self {
        let name = contact_id.as_str().trim_start_matches("ctc_").to_owned();
        let service = Service {
            company_id: CompanyId::from_name("acme").expect("letters"),
            flow_id: FlowId::from_name("main").expect("letters"),
            hours: None,
            ring_ms: Millis::ZERO,
            greeting_prompt: String::new(),
            closed_prompt: String::new(),
            music: "quiet".to_owned(),
            queue: terms(QueueId::from_name("main").expect("letters")),
        };
        let invited = Invited {
            contact_id,
            node_id,
            leg_id: LegId::from_name(&format!("{name}-c")).expect("letters, digits and dashes"),
            sip_call_id: name,
            caller: None,
            dialled: None,
            directory_revision: 1,
            plan: Plan::Serve(Box::new(service)),
        };
        let mut call = Self {
            contact: Contact::default(),
            outputs: VecDeque::new(),
            plans: vec![(now + patience, Input::CallerBye)],
            waits_for: 0,
            fact_count: 0,
            offer: None,
            bridged: false,
        };
        call.handle(now, Input::Invited(Box::new(invited)));
        call
    }

    pub(super) fn handle(&mut self, now: Timestamp, input: Input) {
        if let Input::Offer(offer) = &input {
            self.offer = Some((offer.offer_id.clone(), offer.token));
        }
        self.contact.handle(now, input);
        while let Some(output) = self.contact.poll() {
            self.outputs.push_back(output);
        }
    }

    /// What is due: its own timers, and what people do.
    pub(super) fn tick(&mut self, now: Timestamp) {
        while self.contact.next_timeout().is_some_and(|at| at <= now) {
            self.handle(now, Input::Tick);
        }
        while let Some(at) = self.plans.iter().position(|(at, _)| *at <= now) {
            let (_, input) = self.plans.remove(at);
            self.handle(now, input);
        }
    }

    pub(super) fn plan(&mut self, at: Timestamp, input: Input) {
        self.plans.push((at, input));
    }

    /// Nobody waits any longer: whoever has not been served hangs up.
    pub(super) fn hurry(&mut self, now: Timestamp) {
        for (at, input) in &mut self.plans {
            if *input == Input::CallerBye && !self.bridged {
                *at = now.min(*at);
            }
        }
    }

    /// A phone rings: it answers, refuses, cannot be reached, or nobody comes.
    pub(super) fn ring(&mut self, now: Timestamp, offer_id: &OfferId, eager: bool, chance: &mut Chance) {
        let alerting_at = now + Millis(chance.between(20, 200));
        let then = alerting_at + Millis(chance.between(50, if eager { 150 } else { 2_200 }));
        let offer_id = offer_id.clone();
        self.plan(alerting_at, Input::AgentAlerting { offer_id: offer_id.clone() });
        match chance.below(100) {
            _ if eager => self.plan(then, Input::AgentAnswered { offer_id }),
            0..70 => self.plan(then, Input::AgentAnswered { offer_id }),
            70..80 => self.plan(then, Input::AgentRefused { offer_id, status: 486 }),
            80..85 => self.plan(then, Input::AgentUnreachable { offer_id }),
            _ => {}
        }
    }

    /// They hear each other until one hangs up.
    pub(super) fn talk(&mut self, now: Timestamp, offer_id: &OfferId, eager: bool, chance: &mut Chance) {
        self.bridged = true;
        self.plans.clear();
        let ends_at = now + Millis(chance.between(200, if eager { 400 } else { 4_000 }));
        let offer_id = offer_id.clone();
        let input = if chance.happens(500) { Input::CallerBye } else { Input::AgentBye { offer_id } };
        self.plan(ends_at, input);
    }

    /// Facts as they stand in the log.
    pub(super) fn recorded(
        &mut self,
        at: Timestamp,
        now: Timestamp,
        facts: Vec<ContactFact>,
    ) -> Vec<Recorded<ContactFact>> {
        let mut recorded = Vec::new();
        for fact in facts {
            self.fact_count += 1;
            recorded.push(record(fact, self.fact_count, at, now));
        }
        recorded
    }
}

/// An offer as the contact is told of it.
pub(super) fn offered(
    command: &trunkline_domain::routing::OfferCommand,
    device_uri: Option<String>,
) -> Input {
    let name = command.offer_id.as_str().trim_start_matches("ofr_");
    Input::Offer(Box::new(Offer {
        offer_id: command.offer_id.clone(),
        agent_id: command.agent_id.clone(),
        token: command.token,
        visit: command.visit,
        expires_at: command.expires_at,
        leg_id: LegId::from_name(name).expect("an offer's name"),
        device_uri,
    }))
}

/// One fact with its meta; its name is a function of its contact and number.
pub(super) fn record(
    fact: ContactFact,
    sequence: u64,
    occurred_at: Timestamp,
    recorded_at: Timestamp,
) -> Recorded<ContactFact> {
    let name = format!("c{}-{sequence}", fact.contact_id().as_str().trim_start_matches("ctc_"));
    let meta = Meta {
        event_id: EventId::from_name(&name).expect("letters, digits and dashes"),
        cell: CELL,
        stream: fact.stream(),
        sequence,
        occurred_at,
        recorded_at,
        correlation_id: fact.contact().cloned(),
        causation_id: None,
        traceparent: String::new(),
    };
    Recorded { meta, fact }
}
