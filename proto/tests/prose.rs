//! Every fact as one line, and nothing personal in any of them.

#![allow(clippy::unwrap_used, reason = "a test may unwrap, also in what its cases share")]

mod samples;

use expect_test::expect;
use samples::all;
use trunkline_proto::prose::{prose, short};

#[test]
fn every_fact_has_its_line() {
    let lines: String = all()
        .iter()
        .map(|(name, variant, fact)| {
            let name = if variant.is_empty() { (*name).to_owned() } else { format!("{name}.{variant}") };
            format!("{name}: {}\n", prose(fact))
        })
        .collect();
    expect![[r#"
        RevisionApplied: revision 2 applied, effective 2026-03-02T12:00:00.000Z
        OperatorDefined: operator opr_meridian defined, months in Europe/Berlin
        OperatorDefined.reasons: operator opr_meridian defined, months in Europe/Berlin
        CompanyDefined: company cmp_aurora defined in cell 3, answered within 20 s counts
        SkillDefined: skill skl_german defined
        CalendarDefined: calendar cal_berlin defined: 2 spans a week, 1 closed days, Europe/Berlin
        QueueDefined: queue que_aurora of cmp_aurora defined: priority 10, rings 20 s, wraps up 30 s
        QueueDefined.asked: queue que_cobalt of cmp_cobalt defined: priority 0, rings 20 s, wraps up 30 s
        QueueDefined.planned: queue que_cobalt of cmp_cobalt defined: priority 0, rings 20 s, wraps up 0 s
        FlowDefined: flow flw_aurora of cmp_aurora defined: to que_aurora
        FlowDefined.bare: flow flw_cobalt of cmp_cobalt defined: to que_cobalt
        NumberDefined: number +…10 of cmp_aurora defined: to flw_aurora
        AgentDefined: agent agt_anna defined in cell 3 with skl_german and skl_billing
        AgentDefined.bare: agent agt_bert defined without skills
        AgentDefined.levels: agent agt_dora defined with skl_german 7 and skl_billing
        AgentDefined.channels: agent agt_cleo defined without skills, serves voice 1 and email 4 at once
        ContractDefined: contract ctr_aurora version 1 of cmp_aurora defined: talk time at 0.89 EUR per 60 s
        ApiKeyDefined: key aurora-portal defined for cmp_aurora
        ApiKeyDefined.bare: key operator defined for the operator
        BlocklistEntryDefined: +…32 blocked for cmp_aurora: threats, 2026-02-11
        BlocklistEntryDefined.bare: +…32 blocked for all: threats, 2026-02-11
        DefinitionRetired: agent agt_carla retired
        DefinitionRetired.number: blocklist entry +…32 retired
        ContactArrived: arrived from +…78 to +…10 for cmp_aurora, flow flw_aurora, on nod_m1
        ContactArrived.bare: arrived from unknown caller to an unknown number for nobody we know, on nod_m1
        BusinessHoursChecked: open by cal_berlin
        BusinessHoursChecked.bare: closed by cal_berlin
        LegAnswered: agt_anna answered
        LegAnswered.bare: the leg of the caller was answered
        PromptStarted: prompt welcome started
        PromptFinished: prompt welcome finished after 2.140 s
        ContactQueueRequested: asked for que_aurora, visit 1, priority 10, waits since 12:00:00.000, needs skl_german and skl_billing
        ContactQueueRequested.bare: asked for que_aurora, visit 2, priority -1, waits since 11:59:30.000
        ContactQueueRequested.levels: asked for que_aurora, visit 1, priority 0, waits since 12:00:00.000, needs skl_german >= 5 or not skl_trainee and skl_billing 3-7
        OfferAlerting: agt_anna is ringing for ofr_…h38x
        OfferDeclined: agt_anna declined ofr_…h38x (SIP 603)
        OfferUnanswered: agt_anna did not answer ofr_…h38x, rang 20 s
        OfferFailed: ofr_…h38x to agt_anna failed: device unreachable
        OfferWithdrawn: ofr_…h38x to agt_anna withdrawn by the caller
        ContactConnected: connected to agt_anna from que_aurora, waited 4.321 s
        LegHeld: put on hold by the agent
        LegRetrieved: taken off hold by the agent
        ContactDisconnected: disconnected from agt_anna by the caller, talked 61.007 s
        ContactAbandoned: abandoned in que_aurora, waited 12.345 s
        ContactFlowedOut: flowed out of que_aurora, waited 0 s: queue full
        ContactFlowedOut.overflowed: flowed out of que_aurora, waited 120 s: overflowed
        ContactEnded: ended by the system: blocked, SIP 486
        ContactEnded.bare: ended by the caller: completed, 3050 packets in, 3049 out
        ContactQueued: queued in que_aurora, place 2, priority 10
        ContactQueued.planned: queued in que_aurora, place 1, priority 10
        StepBegan: step 2 in que_aurora after 60 s: priority 8, needs skl_german >= 3 and not skl_trainee
        ContactReplanned: planned anew in que_aurora after 45 s: priority -3, needs skl_german or skl_dutch; a storm
        ReservationRefused: agt_anna not reserved for ofr_…h38x: agent is not ready
        OfferMade: offered to agt_anna as ofr_…h38x, round 1, until 12:00:20.100; not agt_bert idle less long, agt_carla lacks a skill
        OfferMade.bare: offered to agt_anna as ofr_…h38x, round 1, until 12:00:20.100
        OfferMade.selected: offered to agt_anna as ofr_…h38x, round 1, until 12:00:20.100; not agt_bert ranks behind
        OfferAccepted: agt_anna accepted ofr_…h38x
        OfferEnded: ofr_…h38x to agt_anna ended: unanswered
        OfferEnded.failed: ofr_…h38x to agt_anna ended: failed, reservation refused at the answer
        ContactDequeued: left que_aurora: answered
        PartitionTaken: partition taken by nod_r1, epoch 41
        ContactTurnedAway: turned away from que_aurora, 50 wait there
        AgentSignedIn: agt_anna signed in at sit_berlin
        AgentSignedIn.bare: agt_anna signed in
        AgentSignedOut: agt_anna signed out: end of shift
        AgentBecameReady: agt_anna is ready
        AgentBecameNotReady: agt_anna is not ready until 12:30:00.000: lunch
        AgentBecameNotReady.bare: agt_anna is not ready: missed_offers
        AgentForced: agt_anna forced signed out: left without signing out
        AgentForced.away: agt_anna forced not ready (training for 900 s): fire drill
        AgentPresenceUnsteady: agt_anna changed its presence 7 times since 11:59:42.000
        PauseLimitExceeded: agt_anna is not ready for longer than 1800 s: lunch
        SessionLost: desktop of agt_anna is gone
        DeviceRegistered: dev_3f2a9c of agt_anna can be called through nod_m1 until 12:05:00.000
        DeviceUnregistered: dev_3f2a9c of agt_anna can no longer be called: expired
        AgentReserved: reserved agt_anna for ofr_…h38x until 12:00:20.100
        ReservationAccepted: agt_anna accepted ofr_…h38x
        ReservationReleased: released agt_anna from ofr_…h38x: caller gone
        ReservationUnconfirmed: agt_anna on ofr_…h38x is unconfirmed, resolves by 12:00:10.000
        WrapUpStarted: agt_anna wraps up until 12:00:30.000
        AgentReserved.chat: reserved agt_anna for ofr_…h38x by chat until 12:00:20.100
        WrapUpStarted.email: agt_anna wraps up by email until 12:00:30.000
        WrapUpStarted.open: agt_anna wraps up until it says so
        WrapUpExtended: agt_anna wraps up longer, until 12:01:00.000
        WrapUpEnded: agt_anna finished wrap-up
        WrapUpEnded.bare: wrap-up of agt_anna ran out
        WrapUpEnded.coded: agt_anna finished wrap-up: order changed
        LeaseGranted: routing/0 leased to nod_r1, epoch 41, until 12:00:03.000
        LeaseLapsed: lease of media/nod_m1 lapsed, nod_m1 had it, epoch 12
        LeaseReleased: lease of billing/0 given back by nod_b1, epoch 13
        UsageRated: talk time of 61.007 s measured, 62 s billed to cmp_aurora by ctr_aurora version 1
        UsageRated.bare: signed-in time of 28800 s measured, 28800 s billed to cmp_cobalt by ctr_cobalt version 2
        UsageUnrated: itm_…r8-1 of cmp_aurora could not be priced: no contract in force
        InvoiceIssued: invoice 17 issued to cmp_aurora: 1234.56 EUR for 412 items
        CreditNoteIssued: credit note 18 issued to cmp_aurora: -0.89 EUR, corrects inv_2026-17
    "#]].assert_eq(&lines);
}

#[test]
fn no_line_shows_a_number_a_name_an_address_or_a_secret() {
    let private =
        ["15112345678", "15198765432", "30555010", "Ortega", "Anna", "Okafor", "192.0.2.17", "phone-"];
    let secret = ["0123456789abcdef", "fedcba98", "aaaabbbb"];
    for (name, _, fact) in all() {
        let line = prose(&fact);
        for word in private.iter().chain(&secret) {
            assert!(!line.contains(word), "{name}: {line}");
        }
        assert!(!line.contains('\n') && !line.ends_with('.') && !line.is_empty(), "{name}: {line}");
    }
}

#[test]
fn what_the_mint_made_is_cut_and_what_a_person_wrote_is_not() {
    for (id, shown) in [
        ("agt_anna", "agt_anna"),
        ("ofr_01jnf9h4aab7c8d9e0f1g2h38x", "ofr_…h38x"),
        ("que_abcdefghijklmnopqrst", "que_abcdefghijklmnopqrst"),
        ("no-prefix", "no-prefix"),
    ] {
        assert_eq!(short(&id), shown);
    }
}
