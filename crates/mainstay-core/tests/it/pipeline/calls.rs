use std::future::pending;
use std::panic::AssertUnwindSafe;

use futures_util::FutureExt;
use futures_util::future::join_all;
use mainstay_core::breaker::{self, State};
use mainstay_core::deadline::{Deadline, Elapsed};
use mainstay_core::pipeline::{Error, Judgement, Outcome};
use tokio::time::{Instant, sleep, timeout};

use super::{classify, fixture, guarded, millis, policy};

#[tokio::test]
async fn what_succeeds_at_once_is_one_attempt() {
    let fixture = fixture(policy());
    assert_eq!(fixture.call(&[Ok(200)]).await.unwrap(), 200);
    assert_eq!((fixture.made.get(), fixture.ended("success")), (1, 1));
}

#[tokio::test]
async fn an_error_and_a_result_that_counts_as_one_are_tried_again() {
    let fixture = fixture(policy());
    assert_eq!(fixture.call(&[Err("reset"), Ok(503), Ok(200)]).await.unwrap(), 200);
    assert_eq!(fixture.made.get(), 3);
    let window = fixture.pipeline.breaker().snapshot();
    assert_eq!((window.calls, window.failures), (3, 2), "each attempt counts");
}

#[tokio::test]
async fn a_result_that_counts_as_a_failure_is_given_if_nothing_better_came() {
    let fixture = fixture(policy());
    assert_eq!(fixture.call(&[Err("reset"), Ok(503)]).await.unwrap(), 503);
    assert_eq!((fixture.made.get(), fixture.ended("failure")), (3, 1));
}

#[tokio::test]
async fn what_must_not_be_repeated_is_not() {
    let fixture = fixture(policy());
    assert!(matches!(fixture.call(&[Err("broken")]).await, Err(Error::Inner("broken"))));
    assert!(matches!(fixture.call(&[Err("no")]).await, Err(Error::Inner("no"))));
    assert_eq!(fixture.made.get(), 2);
    let window = fixture.pipeline.breaker().snapshot();
    assert_eq!((window.calls, window.failures), (1, 1), "the caller's own fault says nothing");
}

#[tokio::test(start_paused = true)]
async fn retry_after_is_kept_and_opens_the_breaker_for_as_long() {
    let fixture = fixture(policy());
    let begun = Instant::now();
    // Two seconds pass on tokio's clock and none on the breaker's: it is still open at the second attempt.
    assert!(matches!(fixture.call(&[Ok(429), Ok(200)]).await, Err(Error::Open(_))));
    assert!(begun.elapsed() >= millis(2_000));
    assert_eq!((fixture.made.get(), fixture.ended("open")), (1, 1));
}

#[tokio::test]
async fn an_open_breaker_is_told_at_once_and_nothing_is_sent() {
    let fixture = guarded(policy(), breaker::Policy::consecutive(3, millis(60_000)));
    fixture.call(&[Err("reset")]).await.unwrap_err();
    assert_eq!(fixture.pipeline.breaker().state(), State::Open);
    let error = fixture.call(&[Ok(200)]).await.unwrap_err();
    assert!(error.is_refusal());
    assert!(matches!(error, Error::Open(open) if open.retry_after > millis(40_000)));
    assert_eq!(fixture.made.get(), 3);
}

#[tokio::test]
async fn an_attempt_that_opens_the_breaker_is_the_last() {
    let fixture = guarded(policy(), breaker::Policy::consecutive(2, millis(60_000)));
    assert!(matches!(fixture.call(&[Err("reset")]).await, Err(Error::Open(_))));
    assert_eq!(fixture.made.get(), 2, "three were allowed");
}

#[tokio::test(start_paused = true)]
async fn an_attempt_has_its_time_and_the_call_its_deadline() {
    let mut policy = policy();
    (policy.deadline, policy.attempt_timeout) = (millis(2_500), millis(1_000));
    policy.retry.attempts = 10;
    let fixture = fixture(policy);
    let begun = Instant::now();
    let hangs = fixture.pipeline.call(classify, |_| {
        fixture.made.set(fixture.made.get() + 1);
        pending()
    });
    assert!(matches!(hangs.await, Err(Error::TimedOut(Elapsed::Deadline))));
    assert_eq!((begun.elapsed(), fixture.made.get()), (millis(2_500), 3));
    assert_eq!(fixture.ended("timeout"), 1);
    let window = fixture.pipeline.breaker().snapshot();
    assert_eq!((window.calls, window.failures), (2, 2), "the third was cut short: that says nothing");
}

#[tokio::test(start_paused = true)]
async fn the_callers_deadline_is_the_calls_if_it_is_earlier_and_travels_inwards() {
    let fixture = fixture(policy());
    let begun = Instant::now();
    let call = fixture.pipeline.call(classify, |_| async {
        assert!(Deadline::current().unwrap().remaining() <= millis(300));
        pending().await
    });
    let error = Deadline::after(millis(300)).scope(call).await.unwrap_err();
    assert!(matches!(error, Error::TimedOut(Elapsed::Deadline)));
    assert_eq!(begun.elapsed(), millis(300));
}

#[tokio::test(start_paused = true)]
async fn a_dependency_that_hangs_opens_the_breaker_even_if_call_and_attempt_have_the_same_time() {
    let mut policy = policy();
    (policy.deadline, policy.attempt_timeout) = (millis(100), millis(100));
    let fixture = guarded(policy, breaker::Policy::consecutive(3, millis(60_000)));
    for _ in 0..3 {
        let hangs = fixture.pipeline.call(classify, |_| pending()).await;
        assert!(matches!(hangs, Err(Error::TimedOut(_))));
    }
    assert_eq!(fixture.pipeline.breaker().state(), State::Open);
}

#[tokio::test]
async fn a_panic_in_the_call_says_nothing_and_one_in_the_judgement_counts_as_a_failure() {
    let fixture = guarded(policy(), breaker::Policy::consecutive(1, millis(60_000)));
    let call = fixture.pipeline.call(classify, |_| async { panic!("the call") });
    AssertUnwindSafe(call).catch_unwind().await.unwrap_err();
    assert_eq!(fixture.pipeline.breaker().state(), State::Closed);
    let judge = |_: Outcome<'_, u16, &'static str>| -> Judgement { panic!("the judgement") };
    let call = fixture.pipeline.call(judge, |_| async { Ok(200) });
    AssertUnwindSafe(call).catch_unwind().await.unwrap_err();
    assert_eq!(fixture.pipeline.breaker().state(), State::Open);
    fixture.pipeline.breaker().reset();
    let all = (0..20).map(|_| fixture.call(&[Ok(200)]));
    assert!(join_all(all).await.iter().all(Result::is_ok), "all places are free");
}

#[tokio::test(start_paused = true)]
async fn callers_that_hang_up_leave_nothing_behind_and_open_nothing() {
    let fixture = guarded(policy(), breaker::Policy::consecutive(1, millis(60_000)));
    for round in 0..20 {
        let calls = (0..50).map(|caller| {
            let call = fixture.pipeline.call(classify, |_| async {
                sleep(millis(100)).await;
                Ok(200)
            });
            timeout(millis((round + caller) % 90), call)
        });
        assert!(join_all(calls).await.iter().all(Result::is_err));
    }
    assert_eq!(fixture.pipeline.breaker().state(), State::Closed);
    let after = (0..20).map(|_| fixture.call(&[Ok(200)]));
    assert!(join_all(after).await.iter().all(Result::is_ok), "all places are free");
}
