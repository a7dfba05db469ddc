//! Leases, and what losing one does to a media node's reservations.

use expect_test::expect;

use super::*;

fn acquire_for(resource: &str, holder: &str, ttl: i64) -> Action {
    let (resource, holder) = (resource.to_owned(), node(holder));
    Action::AcquireLease { resource, holder, ttl: Millis(ttl), address: String::new() }
}

fn renew(resource: &str, holder: &str, epoch: u64) -> Action {
    let (resource, holder) = (resource.to_owned(), node(holder));
    Action::RenewLease { resource, holder, epoch: Epoch(epoch), ttl: Millis(3_000) }
}

fn give_back(resource: &str, holder: &str, epoch: u64) -> Action {
    Action::ReleaseLease { resource: resource.to_owned(), holder: node(holder), epoch: Epoch(epoch) }
}

#[test]
fn a_resource_has_one_owner_until_it_lapses_or_is_given_back() {
    check(
        &[],
        (10, acquire_for("billing/0", "nod_a", 3_000)),
        expect![[r#"
        LeaseAcquired { epoch: Epoch(4), expires_at: @3010, previous_renewed_at: None }
        @10 LeaseGranted: resource: "billing/0", holder: nod_a, epoch: Epoch(4), expires_at: @3010, address: ""
    "#]],
    );
    let held = [(10, acquire_for("billing/0", "nod_a", 3_000))];
    check(
        &held,
        (20, acquire_for("billing/0", "nod_b", 3_000)),
        expect![[r#"
        rejected: lease is held by nod_a
    "#]],
    );
    check(
        &held,
        (3_010, acquire_for("billing/0", "nod_b", 3_000)),
        expect![[r#"
        LeaseAcquired { epoch: Epoch(5), expires_at: @6010, previous_renewed_at: Some(@10) }
        @3010 LeaseLapsed: resource: "billing/0", holder: nod_a, epoch: Epoch(4)
        @3010 LeaseGranted: resource: "billing/0", holder: nod_b, epoch: Epoch(5), expires_at: @6010, address: ""
    "#]],
    );
    check(
        &held,
        (20, give_back("billing/0", "nod_a", 4)),
        expect![[r#"
        LeaseReleased
        @20 LeaseReleased: resource: "billing/0", holder: nod_a, epoch: Epoch(4)
    "#]],
    );
    check(
        &held,
        (20, give_back("billing/0", "nod_b", 4)),
        expect![[r#"
        rejected: epoch of billing/0 is not current
    "#]],
    );
    check(
        &held,
        (20, give_back("billing/0", "nod_a", 3)),
        expect![[r#"
        rejected: epoch of billing/0 is not current
    "#]],
    );
    check(
        &held,
        (4_000, Action::Expire),
        expect![[r#"
        Expired
        @3010 LeaseLapsed: resource: "billing/0", holder: nod_a, epoch: Epoch(4)
    "#]],
    );
}

#[test]
fn renewal_moves_the_deadline_and_only_the_owner_renews() {
    let held = [(10, acquire_for("billing/0", "nod_a", 3_000))];
    check(
        &held,
        (1_000, renew("billing/0", "nod_a", 4)),
        expect![[r#"
        LeaseRenewed { expires_at: @4000 }
    "#]],
    );
    check(
        &held,
        (1_000, renew("billing/0", "nod_b", 4)),
        expect![[r#"
        rejected: epoch of billing/0 is not current
    "#]],
    );
    check(
        &held,
        (1_000, renew("billing/0", "nod_a", 3)),
        expect![[r#"
        rejected: epoch of billing/0 is not current
    "#]],
    );
    check(
        &held,
        (3_010, renew("billing/0", "nod_a", 4)),
        expect![[r#"
        rejected: epoch of billing/0 is not current
        @3010 LeaseLapsed: resource: "billing/0", holder: nod_a, epoch: Epoch(4)
    "#]],
    );
    let renewed = [held[0].clone(), (1_000, renew("billing/0", "nod_a", 4))];
    check(
        &renewed,
        (3_999, Action::Expire),
        expect![[r#"
        Expired
    "#]],
    );
    check(
        &renewed,
        (5_000, acquire_for("billing/0", "nod_b", 3_000)),
        expect![[r#"
        LeaseAcquired { epoch: Epoch(6), expires_at: @8000, previous_renewed_at: Some(@1000) }
        @4000 LeaseLapsed: resource: "billing/0", holder: nod_a, epoch: Epoch(4)
        @5000 LeaseGranted: resource: "billing/0", holder: nod_b, epoch: Epoch(6), expires_at: @8000, address: ""
    "#]],
    );
}

#[test]
fn the_same_owner_may_acquire_again_and_gets_a_new_epoch() {
    let held = [(10, acquire_for("billing/0", "nod_a", 3_000)), (1_000, renew("billing/0", "nod_a", 4))];
    check(
        &held,
        (2_000, acquire_for("billing/0", "nod_a", 3_000)),
        expect![[r#"
        LeaseAcquired { epoch: Epoch(6), expires_at: @5000, previous_renewed_at: Some(@1000) }
        @2000 LeaseGranted: resource: "billing/0", holder: nod_a, epoch: Epoch(6), expires_at: @5000, address: ""
    "#]],
    );
}

#[test]
fn a_lease_may_be_neither_too_short_nor_too_long() {
    check(
        &[],
        (10, acquire_for("billing/0", "nod_a", 29)),
        expect![[r#"
        rejected: lease time to live is out of bounds
    "#]],
    );
    check(
        &[],
        (10, acquire_for("billing/0", "nod_a", 300_001)),
        expect![[r#"
        rejected: lease time to live is out of bounds
    "#]],
    );
}

#[test]
fn facts_of_a_lease_go_to_the_cell_of_the_resource() {
    assert_eq!(cell_of_resource("routing/3"), Cell(3));
    assert_eq!(cell_of_resource("media/nod_3"), Cell(0));
    assert_eq!(cell_of_resource("directory/0"), Cell(0));
    assert_eq!(cell_of_resource("whatever"), Cell(0));
}

#[test]
fn a_media_node_that_acquires_again_leaves_its_reservations_unconfirmed() {
    check(
        &talking(),
        (3_000, acquire("media/nod_m", "nod_m")),
        expect![[r#"
        LeaseAcquired { epoch: Epoch(8), expires_at: @303000, previous_renewed_at: Some(@0) }
        @3000 LeaseGranted: resource: "media/nod_m", holder: nod_m, epoch: Epoch(8), expires_at: @303000, address: "127.0.0.1:1"
        @3000 ReservationUnconfirmed: agent_id: agt_anna, offer_id: ofr_c-anna, contact_id: ctc_c, token: 6144, resolves_at: @13000
    "#]],
    );
    let back = [talking(), vec![(3_000, acquire("media/nod_m", "nod_m"))]].concat();
    check(
        &back,
        (3_500, release("anna", "c", 6144, ReleaseOutcome::MediaLost)),
        expect![[r#"
        rejected: epoch of media/nod_m is not current
    "#]],
    );
    let with_new_epoch = Action::ReleaseReservation {
        agent_id: agent("anna"),
        offer_id: "ofr_c-anna".parse().unwrap(),
        token: 6144,
        outcome: ReleaseOutcome::MediaLost,
        node_id: node("nod_m"),
        epoch: Epoch(8),
    };
    check(
        &back,
        (3_500, with_new_epoch),
        expect![[r#"
            Released { released: true }
            @3500 ReservationReleased: agent_id: agt_anna, offer_id: ofr_c-anna, contact_id: ctc_c, token: 6144, outcome: MediaLost
            @3500 WrapUpStarted: agent_id: agt_anna, offer_id: ofr_c-anna, contact_id: ctc_c, company_id: cmp_acme, queue_id: que_main, ends_at: Some(@8500), channel: Voice
        "#]],
    );
    check(
        &back,
        (13_000, Action::Expire),
        expect![[r#"
            Expired
            @13000 ReservationReleased: agent_id: agt_anna, offer_id: ofr_c-anna, contact_id: ctc_c, token: 6144, outcome: MediaLost
            @13000 WrapUpStarted: agent_id: agt_anna, offer_id: ofr_c-anna, contact_id: ctc_c, company_id: cmp_acme, queue_id: que_main, ends_at: Some(@18000), channel: Voice
        "#]],
    );
}

#[test]
fn an_offer_of_a_node_that_came_back_cannot_be_answered_any_more() {
    let back = [offered(), vec![(3_000, acquire("media/nod_m", "nod_m"))]].concat();
    let accept = Action::AcceptReservation {
        agent_id: agent("anna"),
        offer_id: "ofr_c-anna".parse().unwrap(),
        token: 6144,
        node_id: node("nod_m"),
        media_epoch: Epoch(7),
    };
    check(
        &back,
        (3_500, accept),
        expect![[r#"
        rejected: reservation is unconfirmed: its media node lost its lease
    "#]],
    );
    check(
        &back,
        (13_000, Action::Expire),
        expect![[r#"
        Expired
        @13000 ReservationReleased: agent_id: agt_anna, offer_id: ofr_c-anna, contact_id: ctc_c, token: 6144, outcome: MediaLost
    "#]],
    );
}

#[test]
fn a_media_node_that_falls_silent_loses_its_reservations_after_the_grace() {
    check(
        &talking(),
        (305_000, Action::Expire),
        expect![[r#"
        Expired
        @300000 LeaseLapsed: resource: "media/nod_m", holder: nod_m, epoch: Epoch(3)
        @300000 ReservationUnconfirmed: agent_id: agt_anna, offer_id: ofr_c-anna, contact_id: ctc_c, token: 6144, resolves_at: @310000
        @300000 LeaseLapsed: resource: "routing/0", holder: nod_r, epoch: Epoch(2)
    "#]],
    );
    check(
        &talking(),
        (310_000, Action::Expire),
        expect![[r#"
            Expired
            @300000 LeaseLapsed: resource: "media/nod_m", holder: nod_m, epoch: Epoch(3)
            @300000 ReservationUnconfirmed: agent_id: agt_anna, offer_id: ofr_c-anna, contact_id: ctc_c, token: 6144, resolves_at: @310000
            @300000 LeaseLapsed: resource: "routing/0", holder: nod_r, epoch: Epoch(2)
            @310000 ReservationReleased: agent_id: agt_anna, offer_id: ofr_c-anna, contact_id: ctc_c, token: 6144, outcome: MediaLost
            @310000 WrapUpStarted: agent_id: agt_anna, offer_id: ofr_c-anna, contact_id: ctc_c, company_id: cmp_acme, queue_id: que_main, ends_at: Some(@315000), channel: Voice
        "#]],
    );
    check(
        &talking(),
        (2_500, give_back("media/nod_m", "nod_m", 3)),
        expect![[r#"
        LeaseReleased
        @2500 LeaseReleased: resource: "media/nod_m", holder: nod_m, epoch: Epoch(3)
        @2500 ReservationUnconfirmed: agent_id: agt_anna, offer_id: ofr_c-anna, contact_id: ctc_c, token: 6144, resolves_at: @12500
    "#]],
    );
}

#[test]
fn acquiring_twice_at_one_raft_index_is_one_grant() {
    let mut world = World::new();
    let first = world.command("one", acquire_for("billing/0", "nod_a", 3_000));
    let second = world.command("two", acquire_for("billing/0", "nod_a", 3_000));
    let granted = world.machine.apply(9, 1, first);
    assert_eq!(world.machine.apply(9, 1, second), granted);
    assert_eq!(world.machine.state().leases["billing/0"].sequence, 1);
}

#[test]
fn a_resource_whose_lease_ended_in_the_entry_that_granted_it_is_not_granted_again_in_that_entry() {
    // The first is stamped while the disk is slow, the last when its lease has lapsed, and all are one entry.
    for end in [None, Some((2_000, give_back("billing/0", "nod_a", 9)))] {
        for holder in ["nod_a", "nod_b"] {
            let mut world = World::new();
            let mut apply = |index, now, action| {
                world.now = now;
                let command = world.command(&format!("at-{index}-{now}"), action);
                world.machine.apply(index, 1, command)
            };
            let granted = apply(9, 10, acquire_for("billing/0", "nod_a", 3_000));
            assert!(matches!(granted, Ok(Done::LeaseAcquired { epoch: Epoch(9), .. })), "{granted:?}");
            if let Some((now, action)) = end.clone() {
                apply(9, now, action).unwrap();
            }
            let again = apply(9, 3_010, acquire_for("billing/0", holder, 3_000));
            let expires_at = Timestamp(3_010);
            assert_eq!(again, Err(Rejection::LeaseHeld { holder: node("nod_a"), expires_at }));
            // Another resource is granted in that entry, and this one in the next.
            apply(9, 3_011, acquire_for("billing/1", holder, 3_000)).unwrap();
            let next = apply(10, 3_011, acquire_for("billing/0", holder, 3_000));
            assert!(matches!(next, Ok(Done::LeaseAcquired { epoch: Epoch(10), .. })), "{next:?}");
        }
    }
}

#[test]
fn time_in_which_nobody_led_does_not_count_against_a_lease() {
    let led = |term_of_the_rest: u64| {
        let mut world = World::new();
        world.now = 10;
        world.apply(acquire_for("billing/0", "nod_a", 3_000)).unwrap();
        world.now = 1_010;
        world.apply(renew("billing/0", "nod_a", 4)).unwrap();
        // The leader dies; somebody leads again after an hour, and hears from the owner two seconds later.
        (world.term, world.now) = (term_of_the_rest, 3_601_010);
        world.apply(Action::Expire).unwrap();
        world.now += 2_000;
        let renewed = world.apply(renew("billing/0", "nod_a", 4));
        world.now += 3_001;
        world.apply(Action::Expire).unwrap();
        (renewed, world.machine.state().leases["billing/0"].holding.is_some())
    };
    assert_eq!(led(2), (Ok(Done::LeaseRenewed { expires_at: Timestamp(3_606_010) }), false));
    // Under one leader an hour of silence is the owner's own.
    let gone = Err(Rejection::StaleEpoch { resource: "billing/0".to_owned(), current: None });
    assert_eq!(led(1), (gone, false));
}
