//! What a supervisor decides for an agent.

use expect_test::expect;

use super::*;

#[test]
fn a_supervisor_decides_with_author_and_reason_and_what_follows_comes_behind() {
    check(
        &[(100, sign_in("anna"))],
        (300, force("anna", Force::Ready)),
        expect![[r#"
        Forced
        @300 AgentForced: agent_id: agt_anna, presence: Ready, author: "Ines Ortega", reason: "left without a word", not_ready_reason: "", duration_ms: 0ms
        @300 AgentBecameReady: agent_id: agt_anna
    "#]],
    );
    check(
        &ready(),
        (300, force("anna", away(1_000))),
        expect![[r#"
        Forced
        @300 AgentForced: agent_id: agt_anna, presence: NotReady, author: "Ines Ortega", reason: "left without a word", not_ready_reason: "away", duration_ms: 1000ms
        @300 AgentBecameNotReady: agent_id: agt_anna, reason: "away", until: Some(@1300)
    "#]],
    );
    check(
        &ready(),
        (300, force("anna", Force::SignedOut)),
        expect![[r#"
        Forced
        @300 AgentForced: agent_id: agt_anna, presence: SignedOut, author: "Ines Ortega", reason: "left without a word", not_ready_reason: "", duration_ms: 0ms
        @300 AgentSignedOut: agent_id: agt_anna, session_id: ses_anna, reason: "left without a word"
    "#]],
    );
}

#[test]
fn nobody_is_forced_who_is_not_there() {
    check(
        &[],
        (300, force("anna", Force::Ready)),
        expect![[r#"
        rejected: agent is not signed in
    "#]],
    );
    check(
        &[],
        (300, force("nobody", Force::SignedOut)),
        expect![[r#"
        rejected: the directory knows no agent agt_nobody
    "#]],
    );
}

#[test]
fn a_forced_sign_out_takes_back_what_rings_and_ends_wrap_up() {
    check(
        &offered(),
        (1_500, force("anna", Force::SignedOut)),
        expect![[r#"
        Forced
        @1500 AgentForced: agent_id: agt_anna, presence: SignedOut, author: "Ines Ortega", reason: "left without a word", not_ready_reason: "", duration_ms: 0ms
        @1500 ReservationReleased: agent_id: agt_anna, offer_id: ofr_c-anna, contact_id: ctc_c, token: 6144, outcome: SignedOut
        @1500 AgentSignedOut: agent_id: agt_anna, session_id: ses_anna, reason: "left without a word"
    "#]],
    );
    check(
        &wrapping_up(),
        (11_000, force("anna", Force::SignedOut)),
        expect![[r#"
        Forced
        @11000 AgentForced: agent_id: agt_anna, presence: SignedOut, author: "Ines Ortega", reason: "left without a word", not_ready_reason: "", duration_ms: 0ms
        @11000 WrapUpEnded: agent_id: agt_anna, offer_id: ofr_c-anna, contact_id: ctc_c, finished_by_agent: false, wrap_up_code: ""
        @11000 AgentSignedOut: agent_id: agt_anna, session_id: ses_anna, reason: "left without a word"
    "#]],
    );
}

/// "I logged the agent out and the customer was gone": a supervisor's word waits for the end of a contact.
#[test]
fn a_live_contact_is_never_cut_by_a_supervisor() {
    check(
        &talking(),
        (3_000, force("anna", Force::SignedOut)),
        expect![[r#"
        Forced
        @3000 AgentForced: agent_id: agt_anna, presence: SignedOut, author: "Ines Ortega", reason: "left without a word", not_ready_reason: "", duration_ms: 0ms
    "#]],
    );
    let forced = [talking(), vec![(3_000, force("anna", Force::SignedOut))]].concat();
    check(
        &forced,
        (4_000, release("anna", "c", 6144, ReleaseOutcome::Completed)),
        expect![[r#"
        Released { released: true }
        @4000 ReservationReleased: agent_id: agt_anna, offer_id: ofr_c-anna, contact_id: ctc_c, token: 6144, outcome: Completed
        @4000 AgentSignedOut: agent_id: agt_anna, session_id: ses_anna, reason: "left without a word"
    "#]],
    );
    let away = [talking(), vec![(3_000, force("anna", away(0)))]].concat();
    check(
        &away,
        (4_000, release("anna", "c", 6144, ReleaseOutcome::Failed)),
        expect![[r#"
        Released { released: true }
        @4000 ReservationReleased: agent_id: agt_anna, offer_id: ofr_c-anna, contact_id: ctc_c, token: 6144, outcome: Failed
        @4000 AgentBecameNotReady: agent_id: agt_anna, reason: "away", until: None
    "#]],
    );
}

#[test]
fn only_a_supervisor_takes_a_forced_sign_out_back() {
    let forced = [talking(), vec![(3_000, force("anna", Force::SignedOut))]].concat();
    for action in [go_ready("anna"), go_not_ready("anna", 0)] {
        check(
            &forced,
            (3_500, action),
            expect![[r#"
            rejected: a supervisor has signed the agent out, from the end of its contact
        "#]],
        );
    }
    let taken_back = [forced, vec![(3_500, force("anna", Force::Ready))]].concat();
    check(
        &taken_back,
        (4_000, release("anna", "c", 6144, ReleaseOutcome::Failed)),
        expect![[r#"
        Released { released: true }
        @4000 ReservationReleased: agent_id: agt_anna, offer_id: ofr_c-anna, contact_id: ctc_c, token: 6144, outcome: Failed
    "#]],
    );
}

/// What the agent alone could end must not keep a supervisor's word waiting for an agent who does not come back.
#[test]
fn a_supervisor_s_word_ends_wrap_up_that_has_no_end() {
    check(
        &wrapping_up_in("open"),
        (11_000, force("anna", away(0))),
        expect![[r#"
        Forced
        @11000 AgentForced: agent_id: agt_anna, presence: NotReady, author: "Ines Ortega", reason: "left without a word", not_ready_reason: "away", duration_ms: 0ms
        @11000 WrapUpEnded: agent_id: agt_anna, offer_id: ofr_c-anna, contact_id: ctc_c, finished_by_agent: false, wrap_up_code: ""
        @11000 AgentBecameNotReady: agent_id: agt_anna, reason: "away", until: None
    "#]],
    );
    check(
        &wrapping_up_in("open"),
        (11_000, force("anna", Force::Ready)),
        expect![[r#"
        Forced
        @11000 AgentForced: agent_id: agt_anna, presence: Ready, author: "Ines Ortega", reason: "left without a word", not_ready_reason: "", duration_ms: 0ms
        @11000 WrapUpEnded: agent_id: agt_anna, offer_id: ofr_c-anna, contact_id: ctc_c, finished_by_agent: false, wrap_up_code: ""
    "#]],
    );
    check(
        &wrapping_up(),
        (11_000, force("anna", away(0))),
        expect![[r#"
        Forced
        @11000 AgentForced: agent_id: agt_anna, presence: NotReady, author: "Ines Ortega", reason: "left without a word", not_ready_reason: "away", duration_ms: 0ms
    "#]],
    );
}
