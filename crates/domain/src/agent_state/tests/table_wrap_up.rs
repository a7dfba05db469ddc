//! After-contact work by the queue's mode.

use expect_test::expect;

use super::*;

/// What the end of a conversation of a queue comes to.
fn completed(queue: &str, asked: bool, then: expect_test::Expect) {
    let mut given = talking_in(queue);
    if asked {
        given.push((3_000, request_wrap_up("anna")));
    }
    check(&given, (10_000, release("anna", "c", 6144, ReleaseOutcome::Completed)), then);
}

#[test]
fn a_queue_without_wrap_up_has_none_whatever_the_agent_asks() {
    for asked in [false, true] {
        completed(
            "none",
            asked,
            expect![[r#"
            Released { released: true }
            @10000 ReservationReleased: agent_id: agt_anna, offer_id: ofr_c-anna, contact_id: ctc_c, token: 6144, outcome: Completed
        "#]],
        );
    }
}

#[test]
fn wrap_up_on_request_begins_only_when_the_agent_asked_while_it_talked() {
    completed(
        "asked",
        false,
        expect![[r#"
        Released { released: true }
        @10000 ReservationReleased: agent_id: agt_anna, offer_id: ofr_c-anna, contact_id: ctc_c, token: 6144, outcome: Completed
    "#]],
    );
    completed(
        "asked",
        true,
        expect![[r#"
            Released { released: true }
            @10000 ReservationReleased: agent_id: agt_anna, offer_id: ofr_c-anna, contact_id: ctc_c, token: 6144, outcome: Completed
            @10000 WrapUpStarted: agent_id: agt_anna, offer_id: ofr_c-anna, contact_id: ctc_c, company_id: cmp_acme, queue_id: que_asked, ends_at: Some(@15000), channel: Voice
        "#]],
    );
    for given in [vec![], vec![(100, sign_in("anna"))], offered(), wrapping_up()] {
        let signed_in = !given.is_empty();
        let mut world = World::new();
        for (now, action) in given {
            world.now = now;
            world.apply(action).unwrap();
        }
        let expected = if signed_in { Rejection::NotTalking } else { Rejection::NotSignedIn };
        assert_eq!(world.apply(request_wrap_up("anna")), Err(expected));
    }
}

/// "Wrap-up ends early or is skipped": where it is forced, it lasts until its deadline.
#[test]
fn forced_wrap_up_is_not_finished_before_its_deadline() {
    check(
        &wrapping_up_in("forced"),
        (14_999, finish_wrap_up("anna")),
        expect![[r#"
        rejected: wrap-up lasts until its deadline
    "#]],
    );
    check(
        &wrapping_up_in("forced"),
        (15_000, Action::Expire),
        expect![[r#"
        Expired
        @15000 WrapUpEnded: agent_id: agt_anna, offer_id: ofr_c-anna, contact_id: ctc_c, finished_by_agent: false, wrap_up_code: ""
    "#]],
    );
}

#[test]
fn mandatory_wrap_up_has_no_deadline_and_only_the_agent_ends_it() {
    completed(
        "open",
        false,
        expect![[r#"
            Released { released: true }
            @10000 ReservationReleased: agent_id: agt_anna, offer_id: ofr_c-anna, contact_id: ctc_c, token: 6144, outcome: Completed
            @10000 WrapUpStarted: agent_id: agt_anna, offer_id: ofr_c-anna, contact_id: ctc_c, company_id: cmp_acme, queue_id: que_open, ends_at: None, channel: Voice
        "#]],
    );
    check(
        &wrapping_up_in("open"),
        (250_000, Action::Expire),
        expect![[r#"
        Expired
    "#]],
    );
    check(
        &wrapping_up_in("open"),
        (250_000, finish_with("anna", "sold")),
        expect![[r#"
        WrapUpFinished
        @250000 WrapUpEnded: agent_id: agt_anna, offer_id: ofr_c-anna, contact_id: ctc_c, finished_by_agent: true, wrap_up_code: "sold"
    "#]],
    );
    check(
        &wrapping_up_in("open"),
        (11_000, extend_wrap_up("anna", 1_000)),
        expect![[r#"
        rejected: wrap-up has no deadline
    "#]],
    );
}

#[test]
fn where_a_code_is_required_wrap_up_is_not_finished_without_and_runs_out_all_the_same() {
    check(
        &wrapping_up_in("coded"),
        (11_000, finish_wrap_up("anna")),
        expect![[r#"
        rejected: wrap-up cannot be finished without a code
    "#]],
    );
    check(
        &wrapping_up_in("coded"),
        (11_000, finish_with("anna", "sold")),
        expect![[r#"
        WrapUpFinished
        @11000 WrapUpEnded: agent_id: agt_anna, offer_id: ofr_c-anna, contact_id: ctc_c, finished_by_agent: true, wrap_up_code: "sold"
    "#]],
    );
    check(
        &wrapping_up_in("coded"),
        (15_000, Action::Expire),
        expect![[r#"
        Expired
        @15000 WrapUpEnded: agent_id: agt_anna, offer_id: ofr_c-anna, contact_id: ctc_c, finished_by_agent: false, wrap_up_code: ""
    "#]],
    );
}

#[test]
fn blanks_are_no_code() {
    check(
        &wrapping_up_in("coded"),
        (11_000, finish_with("anna", " \t")),
        expect![[r#"
        rejected: wrap-up cannot be finished without a code
    "#]],
    );
}

/// A queue's policy may change while somebody wraps up by the one before.
#[test]
fn wrap_up_without_an_end_can_be_finished_also_where_it_is_forced_by_now() {
    // From mandatory to the mode before it.
    let by = WrapUpMode::ALL.len() - 1;
    let forced = |roster: &Action| match roster {
        Action::DefineRoster(roster) => roster.queues[&QueueId::from_name("open").unwrap()].wrap_up_mode,
        other => panic!("{other:?}"),
    };
    assert_eq!(forced(&change_modes(2, by)), WrapUpMode::TimedForced);
    check(
        &[wrapping_up_in("open"), vec![(11_000, change_modes(2, by))]].concat(),
        (12_000, finish_wrap_up("anna")),
        expect![[r#"
        WrapUpFinished
        @12000 WrapUpEnded: agent_id: agt_anna, offer_id: ofr_c-anna, contact_id: ctc_c, finished_by_agent: true, wrap_up_code: ""
    "#]],
    );
}

/// A desktop that is a contact behind must not end the wrap-up of the next.
#[test]
fn who_names_another_offer_than_the_live_one_is_refused() {
    let offer = |contact: &str| OfferId::from_name(&format!("{contact}-anna")).unwrap();
    let request = |contact| Action::RequestWrapUp { agent_id: agent("anna"), offer_id: Some(offer(contact)) };
    let extend = |contact| {
        let (agent_id, span) = (agent("anna"), Millis(1_000));
        Action::ExtendWrapUp { agent_id, offer_id: Some(offer(contact)), span }
    };
    let finish = |contact| {
        let (agent_id, code) = (agent("anna"), "sold".to_owned());
        Action::FinishWrapUp { agent_id, offer_id: Some(offer(contact)), code }
    };
    for (given, wrong, right) in [
        (talking(), request("before"), request("c")),
        (wrapping_up(), extend("before"), extend("c")),
        (wrapping_up(), finish("before"), finish("c")),
    ] {
        let mut world = World::new();
        for (now, action) in given {
            world.now = now;
            world.apply(action).unwrap();
        }
        world.now = 11_000;
        assert_eq!(world.apply(wrong), Err(Rejection::WrongOffer { offer_id: offer("c") }));
        world.apply(right).unwrap();
    }
}

#[test]
fn wrap_up_is_extended_up_to_the_queue_s_limit_altogether() {
    check(
        &wrapping_up_in("coded"),
        (11_000, extend_wrap_up("anna", 2_000)),
        expect![[r#"
        WrapUpExtended { ends_at: @17000 }
        @11000 WrapUpExtended: agent_id: agt_anna, offer_id: ofr_c-anna, contact_id: ctc_c, ends_at: @17000
    "#]],
    );
    let extended = [wrapping_up_in("coded"), vec![(11_000, extend_wrap_up("anna", 2_000))]].concat();
    check(
        &extended,
        (16_000, extend_wrap_up("anna", 1_001)),
        expect![[r#"
        rejected: wrap-up can be extended by 1000 ms more at most
    "#]],
    );
    check(
        &extended,
        (17_000, Action::Expire),
        expect![[r#"
        Expired
        @17000 WrapUpEnded: agent_id: agt_anna, offer_id: ofr_c-anna, contact_id: ctc_c, finished_by_agent: false, wrap_up_code: ""
    "#]],
    );
    check(
        &wrapping_up_in("lenient"),
        (11_000, extend_wrap_up("anna", 1)),
        expect![[r#"
        rejected: wrap-up can be extended by 0 ms more at most
    "#]],
    );
    check(
        &ready(),
        (11_000, extend_wrap_up("anna", 1)),
        expect![[r#"
        rejected: agent is not in wrap-up
    "#]],
    );
}

#[test]
fn wrap_up_without_an_end_is_ended_by_signing_out_and_by_a_supervisor() {
    for action in [sign_out("anna"), force("anna", Force::SignedOut)] {
        let mut world = World::new();
        for (now, action) in wrapping_up_in("open") {
            world.now = now;
            world.apply(action).unwrap();
        }
        world.apply(action).unwrap();
        assert_eq!(world.machine.state().agents[&agent("anna")].activity(), Activity::SignedOut);
    }
}
