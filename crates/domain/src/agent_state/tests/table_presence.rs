//! Sessions, presence, wrap-up, devices.

use expect_test::expect;

use super::*;

#[test]
fn whoever_signs_in_is_not_ready_until_it_says_so() {
    check(
        &[],
        (5, sign_in("anna")),
        expect![[r#"
        SignedIn { session_id: ses_anna, client_sequence: 0 }
        @5 AgentSignedIn: agent_id: agt_anna, session_id: ses_anna, site_id: None
    "#]],
    );
    check(
        &[(5, sign_in("anna"))],
        (6, go_ready("anna")),
        expect![[r#"
        Ready
        @6 AgentBecameReady: agent_id: agt_anna
    "#]],
    );
    check(
        &ready(),
        (300, go_ready("anna")),
        expect![[r#"
        Ready
    "#]],
    );
}

#[test]
fn only_agents_of_the_directory_sign_in_and_only_once() {
    check(
        &[],
        (5, sign_in("nobody")),
        expect![[r#"
        rejected: the directory knows no agent agt_nobody
    "#]],
    );
    check(
        &ready(),
        (300, sign_in("anna")),
        expect![[r#"
        SignedIn { session_id: ses_anna, client_sequence: 0 }
    "#]],
    );
    let other = Action::SignIn {
        agent_id: agent("anna"),
        session_id: "ses_other".parse().unwrap(),
        site_id: None,
        lease: Millis::ZERO,
    };
    check(
        &ready(),
        (300, other),
        expect![[r#"
        rejected: agent is already signed in with session ses_anna
    "#]],
    );
}

#[test]
fn who_is_not_signed_in_can_do_nothing_else() {
    for action in [go_ready("anna"), go_not_ready("anna", 0), finish_wrap_up("anna"), sign_out("anna")] {
        let mut world = World::new();
        assert_eq!(world.apply(action), Err(Rejection::NotSignedIn));
    }
}

#[test]
fn a_pause_with_an_end_ends_by_itself_at_its_deadline() {
    check(
        &ready(),
        (300, go_not_ready("anna", 1_000)),
        expect![[r#"
        NotReady
        @300 AgentBecameNotReady: agent_id: agt_anna, reason: "lunch", until: Some(@1300)
    "#]],
    );
    let paused = [ready(), vec![(300, go_not_ready("anna", 1_000))]].concat();
    check(
        &paused,
        (1_299, Action::Expire),
        expect![[r#"
        Expired
    "#]],
    );
    check(
        &paused,
        (9_999, Action::Expire),
        expect![[r#"
        Expired
        @1300 AgentBecameReady: agent_id: agt_anna
    "#]],
    );
}

#[test]
fn going_not_ready_while_talking_takes_effect_after_the_contact_and_its_wrap_up() {
    check(
        &talking(),
        (3_000, go_not_ready("anna", 1_000)),
        expect![[r#"
        NotReady
    "#]],
    );
    let asked = [talking(), vec![(3_000, go_not_ready("anna", 1_000))]].concat();
    check(
        &asked,
        (4_000, release("anna", "c", 6144, ReleaseOutcome::Completed)),
        expect![[r#"
            Released { released: true }
            @4000 ReservationReleased: agent_id: agt_anna, offer_id: ofr_c-anna, contact_id: ctc_c, token: 6144, outcome: Completed
            @4000 WrapUpStarted: agent_id: agt_anna, offer_id: ofr_c-anna, contact_id: ctc_c, company_id: cmp_acme, queue_id: que_main, ends_at: Some(@9000), channel: Voice
        "#]],
    );
    let ended = [asked, vec![(4_000, release("anna", "c", 6144, ReleaseOutcome::Completed))]].concat();
    check(
        &ended,
        (20_000, Action::Expire),
        expect![[r#"
        Expired
        @9000 WrapUpEnded: agent_id: agt_anna, offer_id: ofr_c-anna, contact_id: ctc_c, finished_by_agent: false, wrap_up_code: ""
        @9000 AgentBecameNotReady: agent_id: agt_anna, reason: "lunch", until: Some(@10000)
        @10000 AgentBecameReady: agent_id: agt_anna
    "#]],
    );
    let taken_back = [ended, vec![(5_000, go_ready("anna"))]].concat();
    check(
        &taken_back,
        (20_000, Action::Expire),
        expect![[r#"
        Expired
        @9000 WrapUpEnded: agent_id: agt_anna, offer_id: ofr_c-anna, contact_id: ctc_c, finished_by_agent: false, wrap_up_code: ""
    "#]],
    );
}

#[test]
fn wrap_up_ends_at_its_deadline_or_when_the_agent_says_so() {
    check(
        &wrapping_up(),
        (11_000, finish_wrap_up("anna")),
        expect![[r#"
        WrapUpFinished
        @11000 WrapUpEnded: agent_id: agt_anna, offer_id: ofr_c-anna, contact_id: ctc_c, finished_by_agent: true, wrap_up_code: ""
    "#]],
    );
    check(
        &wrapping_up(),
        (14_999, Action::Expire),
        expect![[r#"
        Expired
    "#]],
    );
    check(
        &wrapping_up(),
        (15_001, finish_wrap_up("anna")),
        expect![[r#"
        rejected: agent is not in wrap-up
        @15000 WrapUpEnded: agent_id: agt_anna, offer_id: ofr_c-anna, contact_id: ctc_c, finished_by_agent: false, wrap_up_code: ""
    "#]],
    );
    check(
        &ready(),
        (300, finish_wrap_up("anna")),
        expect![[r#"
        rejected: agent is not in wrap-up
    "#]],
    );
}

#[test]
fn signing_out_ends_what_is_live_first() {
    check(
        &ready(),
        (300, sign_out("anna")),
        expect![[r#"
        SignedOut { session_id: ses_anna }
        @300 AgentSignedOut: agent_id: agt_anna, session_id: ses_anna, reason: "done"
    "#]],
    );
    check(
        &offered(),
        (1_500, sign_out("anna")),
        expect![[r#"
        SignedOut { session_id: ses_anna }
        @1500 ReservationReleased: agent_id: agt_anna, offer_id: ofr_c-anna, contact_id: ctc_c, token: 6144, outcome: SignedOut
        @1500 AgentSignedOut: agent_id: agt_anna, session_id: ses_anna, reason: "done"
    "#]],
    );
    check(
        &talking(),
        (3_000, sign_out("anna")),
        expect![[r#"
        SignedOut { session_id: ses_anna }
        @3000 ReservationReleased: agent_id: agt_anna, offer_id: ofr_c-anna, contact_id: ctc_c, token: 6144, outcome: SignedOut
        @3000 AgentSignedOut: agent_id: agt_anna, session_id: ses_anna, reason: "done"
    "#]],
    );
    check(
        &wrapping_up(),
        (11_000, sign_out("anna")),
        expect![[r#"
        SignedOut { session_id: ses_anna }
        @11000 WrapUpEnded: agent_id: agt_anna, offer_id: ofr_c-anna, contact_id: ctc_c, finished_by_agent: true, wrap_up_code: ""
        @11000 AgentSignedOut: agent_id: agt_anna, session_id: ses_anna, reason: "done"
    "#]],
    );
}

#[test]
fn an_agent_the_directory_drops_is_signed_out() {
    check(
        &talking(),
        (3_000, define_roster(2, &["ben"])),
        expect![[r#"
        RosterDefined
        @3000 ReservationReleased: agent_id: agt_anna, offer_id: ofr_c-anna, contact_id: ctc_c, token: 6144, outcome: SignedOut
        @3000 AgentSignedOut: agent_id: agt_anna, session_id: ses_anna, reason: "no longer in the directory"
        @3000 DeviceUnregistered: agent_id: agt_anna, device_id: dev_phone, reason: "no longer in the directory"
    "#]],
    );
    check(
        &talking(),
        (3_000, define_roster(0, &["ben"])),
        expect![[r#"
        RosterDefined
    "#]],
    );
}

#[test]
fn a_device_is_known_until_it_says_otherwise_or_expires() {
    check(
        &[],
        (5, register("anna", "d1", "sip:a@1", 1_000)),
        expect![[r#"
        DeviceKnown
        @5 DeviceRegistered: agent_id: agt_anna, device_id: dev_d1, contact_uri: "sip:a@1", node_id: nod_m, expires_at: @1000
    "#]],
    );
    let known = [(5, register("anna", "d1", "sip:a@1", 1_000))];
    check(
        &known,
        (6, register("anna", "d1", "sip:a@1", 1_000)),
        expect![[r#"
        DeviceKnown
    "#]],
    );
    check(
        &known,
        (6, register("anna", "d1", "sip:a@2", 2_000)),
        expect![[r#"
        DeviceKnown
        @6 DeviceRegistered: agent_id: agt_anna, device_id: dev_d1, contact_uri: "sip:a@2", node_id: nod_m, expires_at: @2000
    "#]],
    );
    check(
        &known,
        (6, unregister("anna", "d1")),
        expect![[r#"
        DeviceForgotten
        @6 DeviceUnregistered: agent_id: agt_anna, device_id: dev_d1, reason: "asked"
    "#]],
    );
    check(
        &[],
        (6, unregister("anna", "d1")),
        expect![[r#"
        DeviceForgotten
    "#]],
    );
    check(
        &known,
        (2_000, Action::Expire),
        expect![[r#"
        Expired
        @1000 DeviceUnregistered: agent_id: agt_anna, device_id: dev_d1, reason: "expired"
    "#]],
    );
    check(
        &[],
        (5, register("anna", "d1", "sip:a@1", 5)),
        expect![[r#"
        rejected: deadline is not in the future
    "#]],
    );
    check(
        &[],
        (5, register("nobody", "d1", "sip:a@1", 1_000)),
        expect![[r#"
        rejected: the directory knows no agent agt_nobody
    "#]],
    );
}

#[test]
fn an_agent_has_at_most_eight_devices() {
    let device = |n: usize| Action::RegisterDevice {
        agent_id: agent("anna"),
        device_id: DeviceId::from_name(&format!("d{n}")).unwrap(),
        device: Device {
            contact_uri: "sip:a@1".into(),
            node_id: node("nod_m"),
            expires_at: Timestamp(9_000),
        },
    };
    let given: Vec<Step> = (1..DEVICE_COUNT_MAX).map(|n| (1, device(n))).collect();
    check(
        &given,
        (2, device(DEVICE_COUNT_MAX)),
        expect![[r#"
        rejected: agent has too many devices
    "#]],
    );
}
