//! Several contacts at once: slots by channel, and what may be put on top of what.
//!
//! Ben serves one call, two chats that a call may interrupt, and two letters that a call or a chat may interrupt.

use expect_test::expect;

use super::*;

fn written(name: &str, contact: &str, channel: Channel) -> Wish {
    Wish { channel, ..wish(name, contact, "main", 20_000) }
}

/// Ben is ready, and is offered one contact a command from index 6 on, which he accepts.
fn with(contacts: &[(&str, Channel)]) -> Vec<Step> {
    let mut steps = vec![(100, sign_in("ben")), (200, go_ready("ben"))];
    for (place, (contact, channel)) in contacts.iter().enumerate() {
        let token = (6 + 2 * place as u64) * 1024;
        steps.push((300, reserve(&[written("ben", contact, *channel)])));
        steps.push((300, accept("ben", contact, token)));
    }
    steps
}

/// What the machine says to one more contact.
#[track_caller]
fn offered(given: &[(&str, Channel)], channel: Channel) -> String {
    let mut world = World::new();
    for (now, action) in with(given) {
        world.now = now;
        world.apply(action).unwrap();
    }
    match world.apply(reserve(&[written("ben", "more", channel)])) {
        Ok(Done::Reserved { answers }) => match &answers[0].granted {
            Ok(_) => "granted".to_owned(),
            Err(rejection) => rejection.code().to_owned(),
        },
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_agent_has_as_many_contacts_of_a_channel_as_it_serves_and_no_more() {
    use Channel::{Chat, Email, Task, Voice};
    type Case<'a> = (&'a [(&'a str, Channel)], [&'a str; 4]);
    let cases: [Case<'_>; 7] = [
        (&[], ["granted", "granted", "granted", "CHANNEL_NOT_SERVED"]),
        (&[("a", Chat)], ["granted", "granted", "BUSY_ELSEWHERE", "CHANNEL_NOT_SERVED"]),
        (&[("a", Chat), ("b", Chat)], ["granted", "CHANNEL_FULL", "BUSY_ELSEWHERE", "CHANNEL_NOT_SERVED"]),
        (&[("a", Email)], ["granted", "granted", "granted", "CHANNEL_NOT_SERVED"]),
        (&[("a", Email), ("b", Email)], ["granted", "granted", "CHANNEL_FULL", "CHANNEL_NOT_SERVED"]),
        (&[("a", Voice)], ["ALREADY_RESERVED", "BUSY_ELSEWHERE", "BUSY_ELSEWHERE", "CHANNEL_NOT_SERVED"]),
        (
            &[("a", Email), ("b", Chat), ("c", Voice)],
            ["ALREADY_RESERVED", "BUSY_ELSEWHERE", "BUSY_ELSEWHERE", "CHANNEL_NOT_SERVED"],
        ),
    ];
    for (given, then) in cases {
        assert_eq!([Voice, Chat, Email, Task].map(|it| offered(given, it)), then, "given {given:?}");
    }
}

/// Peers §4, row 23: a fourth chat skipped and the fifth taken.
#[test]
fn a_slot_that_is_freed_takes_the_next_contact_and_one_turn_never_gives_more_than_there_are() {
    let chats: Vec<Wish> = ["a", "b", "c"].map(|contact| written("ben", contact, Channel::Chat)).into();
    let signed_in = [(100, sign_in("ben")), (200, go_ready("ben"))];
    check(
        &signed_in,
        (300, reserve(&chats)),
        expect![[r#"
            Reserved { answers: [WishAnswer { offer_id: ofr_a-ben, granted: Ok(6144) }, WishAnswer { offer_id: ofr_b-ben, granted: Ok(6145) }, WishAnswer { offer_id: ofr_c-ben, granted: Err(ChannelFull { channel: Chat, capacity: 2 }) }] }
            @300 AgentReserved: agent_id: agt_ben, offer_id: ofr_a-ben, contact_id: ctc_a, company_id: cmp_acme, queue_id: que_main, token: 6144, node_id: nod_m, routing_epoch: Epoch(2), expires_at: @20000, channel: Chat
            @300 AgentReserved: agent_id: agt_ben, offer_id: ofr_b-ben, contact_id: ctc_b, company_id: cmp_acme, queue_id: que_main, token: 6145, node_id: nod_m, routing_epoch: Epoch(2), expires_at: @20000, channel: Chat
        "#]],
    );
    let declined = release("ben", "a", 6144, ReleaseOutcome::Declined);
    let one_declined = [signed_in.to_vec(), vec![(300, reserve(&chats)), (400, declined)]].concat();
    check(
        &one_declined,
        (500, reserve(&chats[2..])),
        expect![[r#"
            Reserved { answers: [WishAnswer { offer_id: ofr_c-ben, granted: Ok(8192) }] }
            @500 AgentReserved: agent_id: agt_ben, offer_id: ofr_c-ben, contact_id: ctc_c, company_id: cmp_acme, queue_id: que_main, token: 8192, node_id: nod_m, routing_epoch: Epoch(2), expires_at: @20000, channel: Chat
        "#]],
    );
}

#[test]
fn each_contact_has_a_wrap_up_of_its_own_and_it_keeps_its_slot() {
    let chats = with(&[("a", Channel::Chat), ("b", Channel::Chat)]);
    let over = release("ben", "a", 6144, ReleaseOutcome::Completed);
    let one_over = [chats, vec![(1_000, over)]].concat();
    check(
        &one_over,
        (1_500, reserve(&[written("ben", "c", Channel::Chat)])),
        expect![[r#"
            Reserved { answers: [WishAnswer { offer_id: ofr_c-ben, granted: Err(ChannelFull { channel: Chat, capacity: 2 }) }] }
        "#]],
    );
    check(
        &one_over,
        (6_000, reserve(&[written("ben", "c", Channel::Chat)])),
        expect![[r#"
            Reserved { answers: [WishAnswer { offer_id: ofr_c-ben, granted: Ok(11264) }] }
            @6000 WrapUpEnded: agent_id: agt_ben, offer_id: ofr_a-ben, contact_id: ctc_a, finished_by_agent: false, wrap_up_code: ""
            @6000 AgentReserved: agent_id: agt_ben, offer_id: ofr_c-ben, contact_id: ctc_c, company_id: cmp_acme, queue_id: que_main, token: 11264, node_id: nod_m, routing_epoch: Epoch(2), expires_at: @20000, channel: Chat
        "#]],
    );
}

#[test]
fn what_was_asked_for_waits_until_nothing_goes_on_and_nothing_comes_meanwhile() {
    let chats = with(&[("a", Channel::Chat), ("b", Channel::Chat)]);
    let away = [chats, vec![(1_000, go_not_ready("ben", 0))]].concat();
    let over = |contact, token| release("ben", contact, token, ReleaseOutcome::CallerGone);
    let one_over = [away, vec![(1_100, over("a", 6144))]].concat();
    check(
        &one_over,
        (1_200, reserve(&[written("ben", "c", Channel::Chat)])),
        expect![[r#"
            Reserved { answers: [WishAnswer { offer_id: ofr_c-ben, granted: Err(NotReady) }] }
        "#]],
    );
    check(
        &one_over,
        (1_300, over("b", 8192)),
        expect![[r#"
            Released { released: true }
            @1300 ReservationReleased: agent_id: agt_ben, offer_id: ofr_b-ben, contact_id: ctc_b, token: 8192, outcome: CallerGone
            @1300 AgentBecameNotReady: agent_id: agt_ben, reason: "lunch", until: None
        "#]],
    );
}

#[test]
fn a_supervisor_s_sign_out_leaves_only_talk_and_takes_effect_after_the_last() {
    let chats = with(&[("a", Channel::Email), ("b", Channel::Chat)]);
    let rings = (400, reserve(&[written("ben", "c", Channel::Voice)]));
    let given = [chats, vec![rings]].concat();
    check(
        &given,
        (1_000, force("ben", Force::SignedOut)),
        expect![[r#"
            Forced
            @1000 AgentForced: agent_id: agt_ben, presence: SignedOut, author: "Ines Ortega", reason: "left without a word", not_ready_reason: "", duration_ms: 0ms
            @1000 ReservationReleased: agent_id: agt_ben, offer_id: ofr_c-ben, contact_id: ctc_c, token: 10240, outcome: SignedOut
        "#]],
    );
    let over = |contact, token| release("ben", contact, token, ReleaseOutcome::Completed);
    let one_over = [given, vec![(1_000, force("ben", Force::SignedOut)), (1_100, over("a", 6144))]].concat();
    check(
        &one_over,
        (1_200, over("b", 8192)),
        expect![[r#"
            Released { released: true }
            @1200 ReservationReleased: agent_id: agt_ben, offer_id: ofr_b-ben, contact_id: ctc_b, token: 8192, outcome: Completed
            @1200 AgentSignedOut: agent_id: agt_ben, session_id: ses_ben, reason: "left without a word"
        "#]],
    );
}

#[test]
fn signing_out_ends_every_contact_once() {
    let chats = with(&[("a", Channel::Chat), ("b", Channel::Chat)]);
    let over = release("ben", "a", 6144, ReleaseOutcome::Completed);
    check(
        &[chats, vec![(1_000, over)]].concat(),
        (1_100, sign_out("ben")),
        expect![[r#"
            SignedOut { session_id: ses_ben }
            @1100 WrapUpEnded: agent_id: agt_ben, offer_id: ofr_a-ben, contact_id: ctc_a, finished_by_agent: true, wrap_up_code: ""
            @1100 ReservationReleased: agent_id: agt_ben, offer_id: ofr_b-ben, contact_id: ctc_b, token: 8192, outcome: SignedOut
            @1100 AgentSignedOut: agent_id: agt_ben, session_id: ses_ben, reason: "done"
        "#]],
    );
}

#[test]
fn who_has_several_must_say_which() {
    let chats = with(&[("a", Channel::Chat), ("b", Channel::Chat)]);
    check(
        &chats,
        (1_000, request_wrap_up("ben")),
        expect![[r#"
            rejected: agent has several contacts this could be about; name the offer
        "#]],
    );
    let named = |offer: &str| Action::RequestWrapUp {
        agent_id: agent("ben"),
        offer_id: Some(OfferId::from_name(offer).unwrap()),
    };
    check(
        &chats,
        (1_000, named("b-ben")),
        expect![[r#"
        WrapUpRequested
    "#]],
    );
    check(
        &chats,
        (1_000, named("z-ben")),
        expect![[r#"
            rejected: offer is not the agent's live one, which is ofr_a-ben
        "#]],
    );
}

#[test]
fn what_is_written_needs_no_phone_and_a_call_does() {
    let gone = [(100, sign_in("ben")), (200, go_ready("ben")), (300, unregister("ben", "phone"))];
    let wishes = [written("ben", "a", Channel::Voice), written("ben", "b", Channel::Chat)];
    check(
        &gone,
        (400, reserve(&wishes)),
        expect![[r#"
            Reserved { answers: [WishAnswer { offer_id: ofr_a-ben, granted: Err(Unreachable) }, WishAnswer { offer_id: ofr_b-ben, granted: Ok(7169) }] }
            @400 AgentReserved: agent_id: agt_ben, offer_id: ofr_b-ben, contact_id: ctc_b, company_id: cmp_acme, queue_id: que_main, token: 7169, node_id: nod_m, routing_epoch: Epoch(2), expires_at: @20000, channel: Chat
        "#]],
    );
}

#[test]
fn the_same_contact_does_not_ring_twice_at_one_agent() {
    let one = Wish { ring_many: true, ..written("ben", "a", Channel::Chat) };
    let again = Wish { offer_id: OfferId::from_name("again").unwrap(), ..one.clone() };
    check(
        &[(100, sign_in("ben")), (200, go_ready("ben"))],
        (300, reserve(&[one, again])),
        expect![[r#"
            Reserved { answers: [WishAnswer { offer_id: ofr_a-ben, granted: Ok(6144) }, WishAnswer { offer_id: ofr_again, granted: Err(ContactReserved { offer_id: ofr_a-ben }) }] }
            @300 AgentReserved: agent_id: agt_ben, offer_id: ofr_a-ben, contact_id: ctc_a, company_id: cmp_acme, queue_id: que_main, token: 6144, node_id: nod_m, routing_epoch: Epoch(2), expires_at: @20000, channel: Chat
        "#]],
    );
}

#[test]
fn a_lost_media_node_leaves_every_contact_it_held_unconfirmed_and_each_ends_once() {
    let chats = with(&[("a", Channel::Chat), ("b", Channel::Chat)]);
    let again = (5_000, acquire("media/nod_m", "nod_m"));
    check(
        &[chats, vec![again]].concat(),
        (15_000, Action::Expire),
        expect![[r#"
            Expired
            @15000 ReservationReleased: agent_id: agt_ben, offer_id: ofr_a-ben, contact_id: ctc_a, token: 6144, outcome: MediaLost
            @15000 WrapUpStarted: agent_id: agt_ben, offer_id: ofr_a-ben, contact_id: ctc_a, company_id: cmp_acme, queue_id: que_main, ends_at: Some(@20000), channel: Chat
            @15000 ReservationReleased: agent_id: agt_ben, offer_id: ofr_b-ben, contact_id: ctc_b, token: 8192, outcome: MediaLost
            @15000 WrapUpStarted: agent_id: agt_ben, offer_id: ofr_b-ben, contact_id: ctc_b, company_id: cmp_acme, queue_id: que_main, ends_at: Some(@20000), channel: Chat
        "#]],
    );
}

#[test]
fn rules_that_change_cut_nothing_and_hold_for_what_comes_next() {
    let chats = with(&[("a", Channel::Chat), ("b", Channel::Chat)]);
    let Action::DefineRoster(roster) = define_roster(2, &["anna", "ben"]) else { unreachable!() };
    let calls_only = Action::DefineRoster(Roster { channels: BTreeMap::new(), ..roster });
    let given = [chats, vec![(1_000, calls_only)]].concat();
    check(
        &given,
        (1_100, reserve(&[written("ben", "c", Channel::Chat), written("ben", "d", Channel::Voice)])),
        expect![[r#"
            Reserved { answers: [WishAnswer { offer_id: ofr_c-ben, granted: Err(AlreadyReserved { offer_id: ofr_b-ben }) }, WishAnswer { offer_id: ofr_d-ben, granted: Err(BusyElsewhere { channel: Chat }) }] }
        "#]],
    );
    check(
        &given,
        (1_100, release("ben", "a", 6144, ReleaseOutcome::CallerGone)),
        expect![[r#"
            Released { released: true }
            @1100 ReservationReleased: agent_id: agt_ben, offer_id: ofr_a-ben, contact_id: ctc_a, token: 6144, outcome: CallerGone
        "#]],
    );
}
