//! What an operator decides takes effect at once, is a fact, and survives the owner.

use super::bench::*;
use super::*;
use crate::vocabulary::*;

fn order(what: Decided) -> Order {
    Order { what, author: "ada".to_owned(), reason: "a storm".to_owned() }
}

impl Bench {
    fn orders(&mut self, what: Decided) -> Result<u32, OrderRefused> {
        let answer = self.router.order(self.now, &order(what));
        self.take_outputs();
        answer
    }
}

fn que(name: &str) -> QueueId {
    QueueId::from_name(name).unwrap()
}

/// Asterisk's rules are frozen when the caller enters; here whoever waits is moved to what is defined now, when told so.
#[test]
fn a_changed_queue_counts_for_new_contacts_and_for_those_who_wait_when_they_are_planned_anew() {
    let strict = queue(QUEUE);
    let mut bench = Bench::new(1, vec![strict, agent("anna", &["dutch"])]);
    bench.comes("anna");
    bench.queues("c1", &["german"]);
    bench.queues("c2", &["german"]);
    let crate::facts::DirectoryFact::QueueDefined(mut queue) = queue_with(QUEUE, QueuePlan::default()) else {
        panic!("a queue")
    };
    queue.required_skills = clauses(&["german or dutch"]);
    queue.plan.ageing = Some(Ageing { every_ms: Millis::from_secs(10), by: 1, most: 2 });
    bench.wait(Millis::from_secs(15));
    bench.define(vec![
        crate::facts::DirectoryFact::RevisionApplied {
            revision: 2,
            author: "ada".to_owned(),
            effective_at: bench.now,
            source_sha256: String::new(),
        },
        crate::facts::DirectoryFact::QueueDefined(queue),
    ]);
    bench.told();
    assert_eq!(bench.orders(Decided::Replan(que(QUEUE))), Ok(2));
    assert_eq!(
        bench.told(),
        "replanned ctc_c1 after 15 s by ada: priority 0, needs skl_german or skl_dutch\n\
         replanned ctc_c2 after 15 s by ada: priority 0, needs skl_german or skl_dutch\n\
         → reserve agt_anna for ctc_c1 until 30000: ofr_r0-1-1\n"
    );
    // Its ageing, counted from when it came, has begun already.
    assert_eq!(bench.router.book().waiting(&contact_id("c2")).unwrap().priority, -1);
    let hash = |bench: &Bench| format!("{:?}", bench.router.book().waiting(&contact_id("c2")));
    let before = hash(&bench);
    let mut bench = bench.restarted(2);
    assert_eq!(before, hash(&bench));
    bench.wait(Millis::from_secs(5));
    assert!(bench.told().contains("step 0 of ctc_c2 after 20 s: priority -2"));
}

#[test]
fn who_is_given_another_priority_comes_in_another_place() {
    let mut bench = Bench::new(1, vec![queue(QUEUE), agent("anna", &[])]);
    ["c1", "c2", "c3"].iter().for_each(|name| bench.queues(name, &[]));
    assert_eq!(bench.orders(Decided::Reprioritise(contact_id("c3"), -5)), Ok(1));
    assert_eq!(bench.router.explain(&contact_id("c3")).unwrap().place, 1);
    bench.told();
    bench.comes("anna");
    assert!(bench.told().contains("→ reserve agt_anna for ctc_c3"));
}

#[test]
fn a_contact_that_is_moved_goes_to_the_other_queue() {
    let mut bench = Bench::new(1, vec![queue(QUEUE), queue("rest")]);
    bench.queues("c1", &[]);
    bench.wait(Millis::from_secs(7));
    bench.told();
    assert_eq!(bench.orders(Decided::Move(contact_id("c1"), que("rest"))), Ok(1));
    assert_eq!(
        bench.told(),
        "replanned ctc_c1 after 7 s by ada: priority 0, needs \n→ send ctc_c1 to que_rest at one:1\n"
    );
    // A queue that is planned anew calls nobody back who is on its way.
    assert_eq!(bench.orders(Decided::Replan(que(QUEUE))), Ok(0));
    assert_eq!(bench.router.book().waiting(&contact_id("c1")).unwrap().leaves_for(), Some(&que("rest")));
}

#[test]
fn an_order_that_makes_no_sense_is_refused_and_changes_nothing() {
    let crate::facts::DirectoryFact::QueueDefined(mut others) = queue("others") else { panic!("a queue") };
    others.company_id = CompanyId::parse("cmp_other").unwrap();
    let others = crate::facts::DirectoryFact::QueueDefined(others);
    let mut bench = Bench::new(1, vec![queue(QUEUE), queue("rest"), others]);
    bench.queues("c1", &[]);
    bench.told();
    let c1 = || contact_id("c1");
    for (what, refusal) in [
        (Decided::Replan(que("gone")), OrderRefused::UnknownQueue(que("gone"))),
        (Decided::Reprioritise(contact_id("c9"), 1), OrderRefused::NotWaiting(contact_id("c9"))),
        (Decided::Reprioritise(c1(), 1_001), OrderRefused::BadPriority(1_001)),
        (Decided::Move(contact_id("c9"), que("rest")), OrderRefused::NotWaiting(contact_id("c9"))),
        (Decided::Move(c1(), que(QUEUE)), OrderRefused::SameQueue(c1())),
        (Decided::Move(c1(), que("gone")), OrderRefused::UnknownQueue(que("gone"))),
        (Decided::Move(c1(), que("others")), OrderRefused::UnknownQueue(que("others"))),
    ] {
        assert_eq!(bench.orders(what), Err(refusal));
        assert_eq!(bench.told(), "");
    }
    let unsigned = Order { author: " ".to_owned(), ..order(Decided::Replan(que(QUEUE))) };
    assert_eq!(bench.router.order(bench.now, &unsigned), Err(OrderRefused::NotSigned));
    let mut standby = Router::new(Cell(0));
    let refused = standby.order(Timestamp(0), &order(Decided::Replan(que(QUEUE))));
    assert_eq!(refused, Err(OrderRefused::NotOwned));
}
