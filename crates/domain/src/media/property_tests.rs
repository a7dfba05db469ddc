//! Whatever happens in whatever order, the facts of a contact tell a story that can be true.

use proptest::prelude::*;

use super::tests::{invited, offer, offer_id, service};
use super::*;
use crate::facts::{ContactFact, FlowOutReason, Meta, Recorded};
use crate::kernel::{Engine, Projection};
use crate::vocabulary::*;

fn input() -> impl Strategy<Value = Input> {
    let n = 1u32..4;
    prop_oneof![
        1 => Just(Input::CallerBye),
        1 => Just(Input::CallerCancelled),
        1 => Just(Input::CallerFailed),
        1 => Just(Input::Drain),
        1 => Just(Input::MediaTimeout),
        1 => (0u32..3).prop_map(|visit| Input::TurnAway { visit, reason: FlowOutReason::QueueFull }),
        2 => (1u32..4).prop_map(|visit| Input::Overflow { visit, to: Box::new(service().queue) }),
        6 => Just(Input::Tick),
        6 => Just(Input::PromptFinished { played_ms: Millis(1_000) }),
        2 => Just(Input::CallerAcked),
        3 => (prop_oneof![Just(Party::Caller), Just(Party::Agent)], any::<bool>())
            .prop_map(|(by, held)| Input::Direction { by, held }),
        12 => (n.clone(), 0i64..40_000).prop_map(|(n, at)| offer(n, at)),
        8 => n.clone().prop_map(|n| Input::AgentAlerting { offer_id: offer_id(n) }),
        8 => n.clone().prop_map(|n| Input::AgentAnswered { offer_id: offer_id(n) }),
        8 => n.clone().prop_map(|n| Input::AcceptGranted { offer_id: offer_id(n) }),
        4 => n.clone().prop_map(|n| Input::AcceptRefused { offer_id: offer_id(n) }),
        4 => n.clone().prop_map(|n| Input::AgentRefused { offer_id: offer_id(n), status: 486 }),
        2 => n.clone().prop_map(|n| Input::AgentUnreachable { offer_id: offer_id(n) }),
        2 => n.clone().prop_map(|n| Input::AgentBye { offer_id: offer_id(n) }),
        2 => n.prop_map(|n| Input::CancelOffer { offer_id: offer_id(n) }),
    ]
}

/// What a fact stream has open, and a panic when it tells nonsense.
#[derive(Default)]
struct Story {
    facts: usize,
    ended: bool,
    visit_open: bool,
    talking: Option<OfferId>,
    visits: u32,
}

impl Story {
    fn take(&mut self, fact: &ContactFact) {
        assert!(!self.ended, "a fact behind the end: {fact:?}");
        assert_eq!(
            matches!(fact, ContactFact::ContactArrived { .. }),
            self.facts == 0,
            "arrived first, and once: {fact:?}"
        );
        self.facts += 1;
        match fact {
            ContactFact::ContactQueueRequested { visit, .. } => {
                assert!(!self.visit_open && self.talking.is_none());
                self.visits += 1;
                assert_eq!(*visit, self.visits);
                self.visit_open = true;
            }
            ContactFact::ContactConnected { offer_id, waited_ms, .. } => {
                assert!(std::mem::take(&mut self.visit_open), "connected outside a visit");
                assert!(self.talking.replace(offer_id.clone()).is_none());
                assert!(waited_ms.0 >= 0);
            }
            ContactFact::ContactAbandoned { .. } | ContactFact::ContactFlowedOut { .. } => {
                assert!(std::mem::take(&mut self.visit_open), "a visit closed twice");
            }
            ContactFact::ContactDisconnected { offer_id, talked_ms, .. } => {
                assert_eq!(self.talking.take().as_ref(), Some(offer_id));
                assert!(talked_ms.0 >= 0);
            }
            ContactFact::LegHeld { .. } | ContactFact::LegRetrieved { .. } => assert!(self.talking.is_some()),
            ContactFact::OfferAlerting { .. }
            | ContactFact::OfferDeclined { .. }
            | ContactFact::OfferUnanswered { .. }
            | ContactFact::OfferWithdrawn { .. } => assert!(self.visit_open, "{fact:?}"),
            ContactFact::ContactEnded { .. } => {
                assert!(!self.visit_open && self.talking.is_none(), "ended with something open");
                self.ended = true;
            }
            _ => {}
        }
    }
}

/// What the agent's and the caller's wire see.
#[derive(Default)]
struct Wire {
    invited: Vec<OfferId>,
    acked: Vec<OfferId>,
    bridged: u32,
    /// Bridged, and the next fact has to say so.
    bridging: Option<OfferId>,
    caller_byes: u32,
    closed: u32,
}

impl Wire {
    fn take(&mut self, output: &Output, story: &Story) {
        match output {
            Output::InviteAgent { offer_id, .. } => {
                assert!(!self.invited.contains(offer_id), "an offer rings once");
                self.invited.push(offer_id.clone());
            }
            Output::AckAgent { offer_id } => {
                assert!(self.invited.contains(offer_id) && !self.acked.contains(offer_id));
                self.acked.push(offer_id.clone());
            }
            Output::ByeAgent { offer_id } => assert!(self.acked.contains(offer_id), "BYE behind ACK only"),
            Output::Bridge { offer_id } => {
                assert!(self.acked.contains(offer_id), "no audio before the grant");
                self.bridging = Some(offer_id.clone());
                self.bridged += 1;
            }
            Output::Record { .. } => {
                if let Some(offer_id) = self.bridging.take() {
                    assert_eq!(story.talking, Some(offer_id), "the fact follows at once");
                }
            }
            Output::ByeCaller { .. } => self.caller_byes += 1,
            Output::Closed => {
                assert!(story.ended);
                self.closed += 1;
            }
            _ => {}
        }
        assert!(self.bridged <= 1 && self.caller_byes <= 1 && self.closed <= 1);
    }
}

fn recorded(sequence: u64, at: Timestamp, fact: ContactFact) -> Recorded<ContactFact> {
    let meta = Meta {
        event_id: EventId::from_name(&format!("c-1-{sequence}")).unwrap(),
        cell: Cell(0),
        stream: "ctc_1".to_owned(),
        sequence,
        occurred_at: at,
        recorded_at: at,
        correlation_id: None,
        causation_id: None,
        traceparent: String::new(),
    };
    Recorded { meta, fact }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_sequence_of_inputs_tells_a_well_formed_story(
        ring_ms in prop_oneof![Just(0i64), Just(500)],
        greeted in any::<bool>(),
        open in any::<bool>(),
        steps in prop::collection::vec((0i64..3_000, input()), 0..40),
        lost_behind in 0usize..60,
    ) {
        let mut plan = service();
        plan.ring_ms = Millis(ring_ms);
        plan.hours = Some(("cal_week".parse().unwrap(), open));
        plan.queue.wait_ms_max = Millis(20_000);
        if !greeted {
            plan.greeting_prompt.clear();
            plan.closed_prompt.clear();
        }
        let mut contact = Contact::default();
        let (mut story, mut wire) = (Story::default(), Wire::default());
        let mut log = Vec::new();
        let mut now = 0;
        let script = std::iter::once((0, invited(Plan::Serve(Box::new(plan)))))
            .chain(steps)
            .chain([(100, Input::Drain), (0, Input::Drain)]);
        for (wait, input) in script {
            // The shell wakes the engine when it asked for it.
            let until = now + wait;
            while let Some(at) = contact.next_timeout().filter(|at| at.0 <= until) {
                contact.handle(at, Input::Tick);
                drain(&mut contact, &mut story, &mut wire, &mut log);
            }
            now = until;
            contact.handle(Timestamp(now), input);
            drain(&mut contact, &mut story, &mut wire, &mut log);
        }
        prop_assert!(story.ended);
        prop_assert_eq!(wire.closed, 1);
        prop_assert_eq!(contact.next_timeout(), None);

        // A node lost behind any fact closes the story as well.
        let mut live = LiveContacts::default();
        let mut story = Story::default();
        for (index, (at, fact)) in log.iter().take(lost_behind.max(1)).enumerate() {
            live.fold(&recorded(index as u64 + 1, *at, fact.clone()));
            story.take(fact);
        }
        prop_assert_eq!(live.len(), usize::from(!story.ended));
        for (contact_id, contact) in live.take() {
            let at = contact.lost_at(Some(Timestamp(0)));
            contact.lost(&contact_id, at).iter().for_each(|fact| story.take(fact));
        }
        prop_assert!(story.ended);
    }
}

fn drain(contact: &mut Contact, story: &mut Story, wire: &mut Wire, log: &mut Vec<(Timestamp, ContactFact)>) {
    while let Some(output) = contact.poll() {
        if let Output::Record { at, facts } = &output {
            for fact in facts {
                story.take(fact);
                log.push((*at, fact.clone()));
            }
        }
        wire.take(&output, story);
    }
}
