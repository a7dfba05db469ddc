//! What an operator says about the rules of its agents: reasons, wrap-up, missed offers.

use expect_test::expect;

use super::plan_tests::check;
use crate::facts::*;
use crate::vocabulary::*;

/// A rule that would never come to anything is a mistake in the document, and is told as one.
#[test]
fn what_a_queue_says_about_wrap_up_and_misses_fits_together() {
    check(
        |it| {
            let queue = &mut it.queues[0].wanted;
            queue.wrap_up_mode = WrapUpMode::None;
            queue.wrap_up_code_required = true;
            queue.wrap_up_extension_ms_max = Millis(60_000);
            let queue = &mut it.queues[1].wanted;
            queue.wrap_up_mode = WrapUpMode::OnRequest;
            queue.wrap_up_ms = Millis::ZERO;
            queue.miss_count_max = 0;
            queue.miss_reason = "phone unattended".to_owned();
            queue.miss_return_ms = Millis(1_000);
        },
        expect![[r#"
            companies[0].queues[0].wrap_up: wrap_up_mode none has no length
            companies[0].queues[0].wrap_up_extension_max: there is no wrap-up with a deadline that could be extended
            companies[0].queues[0].wrap_up_code: a code is asked for when the agent finishes wrap-up, and here it never does
            companies[1].queues[0].wrap_up_mode: wrap_up_mode on_request needs a wrap_up longer than 0s
            companies[1].queues[0].miss_reason: an agent never becomes not ready here: miss_count_max is 0
            companies[1].queues[0].miss_return: an agent never becomes not ready here: miss_count_max is 0
        "#]],
    );
}

#[test]
fn a_reason_is_listed_once_and_its_limit_is_within_a_day() {
    check(
        |it| {
            let reason =
                |reason: &str, limit| NotReadyReason { reason: reason.to_owned(), limit_ms: Millis(limit) };
            it.operator.wanted.not_ready_reasons = vec![
                reason("lunch", 0),
                reason("lunch", 1),
                reason(" ", 0),
                reason("nap", 86_400_001),
                reason("coffee ", 0),
            ];
            it.queues[0].wanted.miss_reason = " ".to_owned();
            it.queues[1].wanted.miss_reason = "\tphone unattended".to_owned();
        },
        expect![[r#"
            operator.not_ready_reasons[1]: reason `lunch` is listed twice
            operator.not_ready_reasons[2].reason: a reason is a word of at most 200 bytes, without blanks around it
            operator.not_ready_reasons[3].limit: 24h1ms is outside 0s to 24h
            operator.not_ready_reasons[4].reason: a reason is a word of at most 200 bytes, without blanks around it
            companies[0].queues[0].miss_reason: a reason is a word of at most 200 bytes, without blanks around it
            companies[1].queues[0].miss_reason: a reason is a word of at most 200 bytes, without blanks around it
        "#]],
    );
    check(
        |it| {
            let reason = |number| NotReadyReason { reason: format!("r{number}"), limit_ms: Millis::ZERO };
            it.operator.wanted.not_ready_reasons = (0..101).map(reason).collect();
        },
        expect![[r#"
            operator.not_ready_reasons: 101 reasons are listed, at most 100 can be
        "#]],
    );
}

#[test]
fn a_queue_s_change_of_rules_is_in_the_plan() {
    check(
        |it| {
            it.queues[0].wanted.wrap_up_mode = WrapUpMode::TimedForced;
            it.queues[0].wanted.miss_return_ms = Millis(300_000);
            it.operator.wanted.not_ready_reasons =
                vec![NotReadyReason { reason: "lunch".to_owned(), limit_ms: Millis(1_800_000) }];
        },
        expect![[r#"
            Changed operator opr_northwind not_ready_reasons none → lunch at most 30m
            Changed queue que_aurora wrap_up_mode timed → timed_forced, miss_return 0s → 5m
        "#]],
    );
}
