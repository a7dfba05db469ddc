//! A small world around a router: agent-state, a media node, callers and agents, driven by a script of numbers.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::bench::*;
use super::naive::could_serve;
use super::*;
use crate::facts::*;
use crate::kernel::Engine;
use crate::vocabulary::*;

const SKILLS: [&[&str]; 4] = [&["german"], &["english"], &["german", "english"], &[]];
const AGENTS: [(&str, &[&str]); 4] =
    [("anna", &["german", "english"]), ("bert", &["german"]), ("cora", &["english"]), ("dora", &["german"])];

/// So that some find the queue full.
const WAITING_COUNT_MAX: u32 = 5;

/// A hold, as agent-state has it.
#[derive(Clone)]
struct Hold {
    offer: OfferId,
    contact: ContactId,
    token: u64,
    accepted: bool,
    expires_at: Timestamp,
}

#[derive(Clone, PartialEq)]
enum Call {
    Waiting,
    Ringing { offer: OfferId, agent: String, token: u64, expires_at: Timestamp },
    Talking { offer: OfferId, agent: String, token: u64 },
}

pub(super) struct World {
    bench: Option<Bench>,
    holds: BTreeMap<String, Hold>,
    ready: BTreeSet<String>,
    calls: BTreeMap<ContactId, Call>,
    effects: VecDeque<Output>,
    answers: VecDeque<Input>,
    agents_told: usize,
    contacts_told: usize,
    epoch: u64,
    token: u64,
    call_count: u64,
    seen_outputs: usize,
}

fn served(queue: DirectoryFact, which: u8) -> DirectoryFact {
    let strategy = SelectionStrategy::ALL[usize::from(which) % SelectionStrategy::ALL.len()];
    let step = |after_ms, needs: &[&str], priority| Step {
        after_ms: Millis(after_ms),
        required_skills: Some(clauses(needs)),
        priority,
        ..Step::default()
    };
    let prefer = if which & 0x10 == 0 { vec![] } else { clauses(&["english >= 5 or german 1-3"]) };
    let mut plan = QueuePlan {
        selection: Selection { strategy, prefer, ..Selection::default() },
        ..QueuePlan::default()
    };
    if which & 0x20 != 0 {
        plan.steps = vec![step(1_500, &["german or english"], None), step(4_000, &[], Some(-2))];
    }
    if which & 0x40 != 0 {
        plan.ageing = Some(Ageing { every_ms: Millis(2_000), by: 1, most: 3 });
    }
    match queue {
        DirectoryFact::QueueDefined(queue) => DirectoryFact::QueueDefined(Queue { plan, ..queue }),
        other => other,
    }
}

fn short(id: &impl ToString) -> String {
    id.to_string()[4..].to_owned()
}

impl World {
    /// By one of the strategies, with a plan or without.
    pub(super) fn new(which: u8) -> Self {
        let definitions = std::iter::once(served(queue_for(QUEUE, WAITING_COUNT_MAX), which))
            .chain(AGENTS.map(|(name, skills)| agent(name, skills)));
        let mut bench = Bench::new(1, definitions.collect());
        for (name, _) in AGENTS {
            bench.tell_agents(vec![signed_in(name), registered(name)]);
        }
        let agents_told = bench.agents.len();
        Self {
            seen_outputs: bench.outputs.len(),
            bench: Some(bench),
            holds: BTreeMap::new(),
            ready: BTreeSet::new(),
            calls: BTreeMap::new(),
            effects: VecDeque::new(),
            answers: VecDeque::new(),
            agents_told,
            contacts_told: 0,
            epoch: 1,
            token: 100,
            call_count: 0,
        }
    }

    fn bench(&mut self) -> &mut Bench {
        self.bench.as_mut().unwrap()
    }

    fn now(&mut self) -> Timestamp {
        self.bench().now
    }

    /// One step of the script: what happens is `action`, to whom is `whom`.
    pub(super) fn step(&mut self, action: u8, whom: u8) {
        let whom = usize::from(whom);
        match action % 16 {
            0 | 1 => self.calls_in(whom),
            2 => self.hangs_up(whom),
            3 | 4 => self.answers_phone(whom),
            5 => self.refuses(whom, "declines"),
            6 => self.refuses(whom, "fails"),
            7 => self.ends_talk(whom),
            8 => self.changes_mind(whom),
            9 | 10 => self.performs(),
            11 => self.tells_contacts(),
            12 => self.tells_agents(),
            13 => self.tells_answer(),
            14 => self.passes_time(Millis(whom as i64 * 100)),
            _ if whom < 32 => self.crashes(),
            _ => self.repeats(whom),
        }
        self.collect();
        self.check();
    }

    /// Everybody is ready and answers, nobody calls any more, until nothing is left to do.
    pub(super) fn settle(&mut self) {
        for (index, (name, _)) in AGENTS.iter().enumerate() {
            if !self.ready.contains(*name) {
                self.changes_mind(index);
            }
        }
        for _ in 0..200 {
            for _ in 0..4 {
                while !self.effects.is_empty() || !self.answers.is_empty() {
                    self.performs();
                    self.tells_answer();
                    self.collect();
                }
                self.answers_phone(0);
                self.ends_talk(0);
                self.tells_contacts();
                self.tells_agents();
                self.collect();
                self.check();
            }
            self.passes_time(Millis(1_000));
            self.collect();
        }
        assert_eq!(self.bench().router.book().waiting_count(), 0, "everybody is served in the end");
        assert_eq!(self.bench().router.book().offers().count(), 0);
        assert_eq!(self.bench().router.book().all_turned_away().count(), 0);
        assert!(self.calls.is_empty());
    }

    /// The partition as it would be folded from its logs alone.
    pub(super) fn replayed_hash(&mut self) -> (String, String) {
        let bench = self.bench();
        let live = bench.router.state_hash().to_string();
        let mut router = Router::new(Cell(0));
        bench.own.iter().for_each(|outcome| router.handle(bench.now, Input::Own(outcome.clone())));
        let told = |log| bench.router.position(log, Cell(0)).map_or(0, |at| at.0 as usize + 1);
        for (index, outcome) in bench.agents.iter().enumerate().take(told(LogName::Agents)) {
            let (position, outcome) = (Position(index as u64), outcome.clone());
            router.handle(bench.now, Input::Agents { cell: Cell(0), position, outcome });
        }
        for (index, outcome) in bench.directory.iter().enumerate() {
            let (position, outcome) = (Position(index as u64), outcome.clone());
            router.handle(bench.now, Input::Directory { position, outcome });
        }
        (live, router.state_hash().to_string())
    }

    pub(super) fn own(&mut self) -> Vec<Recorded<RoutingFact>> {
        self.bench().own.iter().flat_map(|outcome| outcome.facts.clone()).collect()
    }

    fn say(&mut self, facts: Vec<ContactFact>) {
        self.bench().log_contacts(facts);
    }

    fn say_agents(&mut self, facts: Vec<AgentFact>) {
        self.bench().log_agents(facts);
    }

    fn calls_in(&mut self, whom: usize) {
        self.call_count += 1;
        let name = format!("{}", self.call_count);
        let priority = if whom.is_multiple_of(7) { -1 } else { 0 };
        let fact = requested(&name, priority, self.now(), SKILLS[whom % SKILLS.len()]);
        self.calls.insert(contact_id(&name), Call::Waiting);
        self.say(vec![fact]);
    }

    fn nth(&self, whom: usize, which: impl Fn(&Call) -> bool) -> Option<(ContactId, Call)> {
        let found: Vec<_> = self.calls.iter().filter(|(_, call)| which(call)).collect();
        found.get(whom % found.len().max(1)).map(|(id, call)| ((*id).clone(), (*call).clone()))
    }

    fn hangs_up(&mut self, whom: usize) {
        let waits = |call: &Call| !matches!(call, Call::Talking { .. });
        let Some((id, call)) = self.nth(whom, waits) else { return };
        let name = short(&id);
        self.calls.remove(&id);
        let mut facts = Vec::new();
        if let Call::Ringing { offer, agent, token, .. } = call {
            facts.push(ContactFact::OfferWithdrawn {
                contact_id: id.clone(),
                offer_id: offer,
                agent_id: agent_id(&agent),
                by: Party::Caller,
            });
            self.releases(&agent, token, ReleaseOutcome::CallerGone);
        }
        facts.extend([abandoned(&name), ended(&name)]);
        self.say(facts);
    }

    fn answers_phone(&mut self, whom: usize) {
        let Some((id, call)) = self.nth(whom, |call| matches!(call, Call::Ringing { .. })) else { return };
        let Call::Ringing { offer, agent, token, .. } = call else { return };
        let hold = self.holds.get_mut(&agent).filter(|hold| hold.token == token);
        let Some(hold) = hold else { return self.rings_no_more(&id, &offer, &agent) };
        hold.accepted = true;
        self.say_agents(vec![accepted(&agent, &short(&offer), &short(&id), token)]);
        self.say(vec![connected(&short(&id), &short(&offer), &agent)]);
        self.calls.insert(id, Call::Talking { offer, agent, token });
    }

    fn rings_no_more(&mut self, id: &ContactId, offer: &OfferId, agent: &str) {
        self.calls.insert(id.clone(), Call::Waiting);
        self.say(vec![ContactFact::OfferFailed {
            contact_id: id.clone(),
            offer_id: offer.clone(),
            agent_id: agent_id(agent),
            reason: OfferFailure::ReservationRefused,
        }]);
    }

    fn refuses(&mut self, whom: usize, how: &str) {
        let Some((id, call)) = self.nth(whom, |call| matches!(call, Call::Ringing { .. })) else { return };
        let Call::Ringing { offer, agent, token, .. } = call else { return };
        self.calls.insert(id.clone(), Call::Waiting);
        if how == "declines" {
            self.say(vec![declined(&short(&id), &short(&offer), &agent)]);
            self.releases(&agent, token, ReleaseOutcome::Declined);
        } else {
            self.say(vec![unanswered(&short(&id), &short(&offer), &agent)]);
            self.releases(&agent, token, ReleaseOutcome::Unanswered);
        }
    }

    fn ends_talk(&mut self, whom: usize) {
        let Some((id, call)) = self.nth(whom, |call| matches!(call, Call::Talking { .. })) else { return };
        let Call::Talking { agent, token, .. } = call else { return };
        self.calls.remove(&id);
        self.say(vec![ended(&short(&id))]);
        self.releases(&agent, token, ReleaseOutcome::Completed);
    }

    /// Agent-state ends a hold, if it is still that one.
    fn releases(&mut self, agent: &str, token: u64, outcome: ReleaseOutcome) {
        if self.holds.get(agent).is_none_or(|hold| hold.token != token) {
            return;
        }
        let Some(hold) = self.holds.remove(agent) else { return };
        self.say_agents(vec![released(agent, &short(&hold.offer), &short(&hold.contact), token, outcome)]);
    }

    fn changes_mind(&mut self, whom: usize) {
        let (name, _) = AGENTS[whom % AGENTS.len()];
        if self.ready.insert(name.to_owned()) {
            self.say_agents(vec![ready(name)]);
        } else {
            self.ready.remove(name);
            self.say_agents(vec![not_ready(name)]);
        }
    }

    /// The next thing the router asked for is done.
    fn performs(&mut self) {
        match self.effects.pop_front() {
            Some(Output::Reserve(wishes)) => {
                let answers =
                    wishes.iter().map(|wish| (wish.offer_id.clone(), self.reserves(wish))).collect();
                self.answers.push_back(Input::ReservationsAnswered { answers });
            }
            Some(Output::Offer(offer)) => self.media_offer(offer),
            Some(Output::Cancel(offer)) => self.media_cancel(&offer),
            Some(Output::TurnAway(it)) => self.media_turn_away(&it.contact_id),
            Some(Output::Release(it)) => {
                let agent = short(&it.agent_id);
                if self.holds.get(&agent).is_some_and(|hold| !hold.accepted) {
                    self.releases(&agent, it.token, ReleaseOutcome::Rescinded);
                }
            }
            Some(Output::Append(_)) | None => {}
        }
    }

    fn reserves(&mut self, wish: &Wish) -> Result<u64, String> {
        let (agent, now) = (short(&wish.agent_id), self.now());
        let refusal = match self.holds.get(&agent) {
            Some(_) => Some("ALREADY_RESERVED"),
            None if !self.ready.contains(&agent) => Some("NOT_READY"),
            None if self.holds.values().any(|hold| hold.contact == wish.contact_id) => {
                Some("CONTACT_RESERVED")
            }
            None if wish.expires_at <= now => Some("DEADLINE_PASSED"),
            None => None,
        };
        if let Some(code) = refusal {
            return Err(code.to_owned());
        }
        self.token += 1;
        let token = self.token;
        let hold = Hold {
            offer: wish.offer_id.clone(),
            contact: wish.contact_id.clone(),
            token,
            accepted: false,
            expires_at: wish.expires_at,
        };
        self.holds.insert(agent.clone(), hold);
        let epoch = self.epoch;
        self.say_agents(vec![reserved(
            &agent,
            &short(&wish.offer_id),
            &short(&wish.contact_id),
            token,
            epoch,
        )]);
        Ok(token)
    }

    fn media_offer(&mut self, offer: OfferCommand) {
        let ringing = Call::Ringing {
            offer: offer.offer_id.clone(),
            agent: short(&offer.agent_id),
            token: offer.token,
            expires_at: offer.expires_at,
        };
        let answer = match self.calls.get(&offer.contact_id) {
            Some(Call::Waiting) => {
                self.calls.insert(offer.contact_id.clone(), ringing);
                Input::OfferTaken { offer_id: offer.offer_id }
            }
            Some(call) if *call == ringing => Input::OfferTaken { offer_id: offer.offer_id },
            _ => Input::OfferRefused { offer, refusal: OfferRefusal::ContactGone },
        };
        self.answers.push_back(answer);
    }

    fn media_cancel(&mut self, it: &OfferCommand) {
        let rings = |call: &Call| matches!(call, Call::Ringing { offer, .. } if *offer == it.offer_id);
        if self.calls.get(&it.contact_id).is_some_and(rings) {
            self.calls.insert(it.contact_id.clone(), Call::Waiting);
            self.say(vec![ContactFact::OfferWithdrawn {
                contact_id: it.contact_id.clone(),
                offer_id: it.offer_id.clone(),
                agent_id: it.agent_id.clone(),
                by: Party::System,
            }]);
            self.releases(&short(&it.agent_id), it.token, ReleaseOutcome::Failed);
        }
    }

    fn media_turn_away(&mut self, id: &ContactId) {
        match self.calls.get(id) {
            None => {}
            Some(Call::Waiting) => {
                self.calls.remove(id);
                self.say(vec![flowed_out(&short(id)), ended(&short(id))]);
            }
            Some(_) => panic!("{id} was turned away and offered"),
        }
    }

    fn tells_contacts(&mut self) {
        let at = self.contacts_told;
        if let Some(outcome) = self.bench().contacts.get(at).cloned() {
            self.contacts_told += 1;
            self.bench().give(Input::Contacts { position: Position(at as u64), outcome });
        }
    }

    fn tells_agents(&mut self) {
        let at = self.agents_told;
        if let Some(outcome) = self.bench().agents.get(at).cloned() {
            self.agents_told += 1;
            self.bench().give(Input::Agents { cell: Cell(0), position: Position(at as u64), outcome });
        }
    }

    fn tells_answer(&mut self) {
        if let Some(input) = self.answers.pop_front() {
            self.bench().give(input);
        }
    }

    fn passes_time(&mut self, span: Millis) {
        self.bench().wait(span);
        let now = self.now();
        let rung_out: Vec<ContactId> = self
            .calls
            .iter()
            .filter(|(_, call)| matches!(call, Call::Ringing { expires_at, .. } if *expires_at <= now))
            .map(|(id, _)| id.clone())
            .collect();
        for id in rung_out {
            let mut whom = self.calls.iter().filter(|(_, call)| matches!(call, Call::Ringing { .. }));
            let whom = whom.position(|(other, _)| *other == id).unwrap();
            self.refuses(whom, "is silent");
        }
        let expired: Vec<(String, u64)> = self
            .holds
            .iter()
            .filter(|(_, hold)| !hold.accepted && hold.expires_at <= now)
            .map(|(agent, hold)| (agent.clone(), hold.token))
            .collect();
        expired.into_iter().for_each(|(agent, token)| self.releases(&agent, token, ReleaseOutcome::Expired));
    }

    /// The owner dies with everything it had not done, and another one reads the logs.
    fn crashes(&mut self) {
        self.effects.clear();
        self.answers.clear();
        self.epoch += 1;
        let epoch = self.epoch;
        let bench = self.bench.take().unwrap().restarted(epoch);
        (self.agents_told, self.contacts_told) = (bench.agents.len(), bench.contacts.len());
        self.seen_outputs = 0;
        self.bench = Some(bench);
    }

    /// An old record is told again.
    fn repeats(&mut self, whom: usize) {
        let (agents_told, contacts_told) = (self.agents_told, self.contacts_told);
        let before = self.bench().router.state_hash();
        if contacts_told > 0 {
            let at = whom % contacts_told;
            let outcome = self.bench().contacts[at].clone();
            self.bench().give(Input::Contacts { position: Position(at as u64), outcome });
        }
        let at = whom % agents_told;
        let outcome = self.bench().agents[at].clone();
        self.bench().give(Input::Agents { cell: Cell(0), position: Position(at as u64), outcome });
        assert_eq!(self.bench().router.state_hash(), before, "a record told again changes nothing");
    }

    fn collect(&mut self) {
        let seen = self.seen_outputs;
        let outputs: Vec<Output> = self.bench().outputs[seen..].to_vec();
        self.seen_outputs += outputs.len();
        self.effects.extend(outputs.into_iter().filter(|output| !matches!(output, Output::Append(_))));
    }

    /// What holds after every step.
    fn check(&mut self) {
        let router = &self.bench().router;
        let book = router.book();
        let (mut agents, mut contacts) = (BTreeSet::new(), BTreeSet::new());
        for (offer_id, offer) in book.offers() {
            assert!(agents.insert(&offer.agent_id), "two live offers to {}", offer.agent_id);
            assert!(contacts.insert(&offer.contact_id), "two live offers of {}", offer.contact_id);
            assert_eq!(book.waiting(&offer.contact_id).unwrap().offer.as_ref(), Some(offer_id));
        }
        let waiting = book.in_order().count();
        assert!(waiting <= WAITING_COUNT_MAX as usize, "{waiting} wait");
        assert!(book.all_turned_away().all(|(id, _)| book.waiting(id).is_none()));
        // No pair that could be matched is left: looked at one by one, with no cleverness.
        for (contact_id, waiting) in book.in_order().filter(|(id, waiting)| router.seeks(id, waiting)) {
            for (agent_id, view) in router.agents.all() {
                let free = could_serve(router, waiting, agent_id, view);
                assert!(!free, "{contact_id} waits though {agent_id} could serve it");
            }
        }
    }
}
