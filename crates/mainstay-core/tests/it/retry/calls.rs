//! One caller.

use std::cell::Cell;
use std::time::Duration;

use futures_util::FutureExt;
use mainstay_core::deadline::Deadline;
use mainstay_core::metrics::{Format, Metrics};
use mainstay_core::retry::{Budget, BudgetPolicy, Policy, Retry, Retryable, watched};
use mainstay_core::time::Clock;
use mainstay_testkit::TestClock;
use tokio::time::Instant;

/// What an attempt ends with: an error with the number of the attempt.
type Outcome = Result<u32, (u32, Retryable)>;

/// A field, and what it must not be.
type Wrong = (&'static str, fn(&mut Policy));

fn budget() -> Budget {
    Budget::new(BudgetPolicy::default(), Clock::system()).unwrap()
}

fn retry(change: impl FnOnce(&mut Policy)) -> Retry {
    let mut policy = Policy::default();
    change(&mut policy);
    Retry::new("test", policy, budget(), &Metrics::new(), TestClock::new().clock()).unwrap()
}

/// Calls an operation that fails so for `failures` times, and says how long that took.
async fn call(retry: &Retry, failures: u32, how: Retryable) -> (Outcome, Duration) {
    let begun = Instant::now();
    let attempt =
        |attempt| async move { if attempt <= failures { Err((attempt, how)) } else { Ok(attempt) } };
    let outcome = retry.call(|(_, how)| *how, attempt).await;
    (outcome, begun.elapsed())
}

#[tokio::test(start_paused = true)]
async fn a_success_is_not_repeated() {
    assert_eq!(call(&retry(|_| {}), 0, Retryable::Yes).await, (Ok(1), Duration::ZERO));
}

#[tokio::test(start_paused = true)]
async fn what_must_not_be_repeated_is_not() {
    for how in [Retryable::No, Retryable::Exhausted] {
        assert_eq!(call(&retry(|_| {}), 1, how).await, (Err((1, how)), Duration::ZERO));
    }
}

#[tokio::test(start_paused = true)]
async fn the_error_of_the_last_attempt_is_returned_unchanged() {
    let retry = retry(|policy| policy.attempts = 4);
    assert_eq!(call(&retry, 3, Retryable::Yes).await.0, Ok(4));
    assert_eq!(call(&retry, 4, Retryable::Yes).await.0, Err((4, Retryable::Yes)));
}

#[tokio::test(start_paused = true)]
async fn waits_are_drawn_from_zero_to_a_ceiling_that_doubles() {
    let (first, max) = (Duration::from_millis(100), Duration::from_millis(300));
    let mut longest = Duration::ZERO;
    for _ in 0..200 {
        let retry = retry(|policy| (policy.attempts, policy.first, policy.max) = (4, first, max));
        let (_, took) = call(&retry, 4, Retryable::Yes).await;
        assert!(took <= Duration::from_millis(100 + 200 + 300 + 3), "{took:?}");
        longest = longest.max(took);
    }
    assert!(longest > Duration::from_millis(400), "{longest:?}");
}

#[tokio::test(start_paused = true)]
async fn a_wait_that_the_other_side_asked_for_is_kept() {
    let retry = retry(|policy| policy.max_retry_after = Duration::from_secs(3));
    let (outcome, took) = call(&retry, 1, Retryable::After(Duration::from_secs(3))).await;
    assert_eq!(outcome, Ok(2));
    assert!((Duration::from_secs(3)..Duration::from_millis(3_060)).contains(&took), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_wait_that_is_too_long_to_be_kept_means_no_retry() {
    let retry = retry(|policy| policy.max_retry_after = Duration::from_secs(3));
    for wait in [Duration::from_millis(3_001), Duration::MAX] {
        let how = Retryable::After(wait);
        assert_eq!(call(&retry, 1, how).await, (Err((1, how)), Duration::ZERO));
    }
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_beyond_the_deadline() {
    let retry = retry(|_| {});
    let how = Retryable::After(Duration::from_secs(2));
    let late = Deadline::after(Duration::from_secs(2)).scope(call(&retry, 1, how)).await;
    assert_eq!(late, (Err((1, how)), Duration::ZERO));
    assert!((retry.budget().balance() - 10.0).abs() < 0.001, "what is not begun is not paid for");
    let in_time = Deadline::after(Duration::from_secs(3)).scope(call(&retry, 1, how)).await;
    assert_eq!(in_time.0, Ok(2));
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_has_no_time_to_succeed_is_not_begun() {
    let retry = retry(|policy| policy.first = Duration::ZERO);
    let slowly = |attempt: u32| {
        let retry = retry.clone();
        async move {
            let work = |now: u32| async move {
                if now < attempt {
                    return Err(());
                }
                tokio::time::sleep(Duration::from_secs(1)).await;
                Ok(now)
            };
            retry.call(|()| Retryable::Yes, work).await
        }
    };
    for _ in 0..16 {
        assert_eq!(Deadline::after(Duration::from_secs(5)).scope(slowly(1)).await, Ok(1));
    }
    assert_eq!(Deadline::after(Duration::from_millis(1_100)).scope(slowly(2)).await, Ok(2));
    assert_eq!(Deadline::after(Duration::from_millis(900)).scope(slowly(2)).await, Err(()));
}

#[tokio::test(start_paused = true)]
async fn without_a_budget_the_original_error_comes_at_once() {
    let retry = retry(|policy| policy.attempts = 100);
    let mut requests_only = BudgetPolicy::default();
    requests_only.per_second = 0.0;
    retry.budget().configure(requests_only).unwrap();
    while retry.budget().withdraw() {}
    for _ in 0..4 {
        assert_eq!(call(&retry, 9, Retryable::Yes).await, (Err((1, Retryable::Yes)), Duration::ZERO));
    }
    // The fifth request pays for one more attempt.
    assert_eq!(call(&retry, 9, Retryable::Yes).await.0, Err((2, Retryable::Yes)));
}

#[tokio::test(start_paused = true)]
async fn who_watches_learns_that_a_retry_gave_up() {
    let gives_up = [(1, Retryable::No, false), (1, Retryable::Yes, false), (9, Retryable::Yes, true)];
    for (failures, how, expected) in gives_up.into_iter().chain([(1, Retryable::Exhausted, true)]) {
        let retry = retry(|_| {});
        let (_, gave_up) = watched(call(&retry, failures, how)).await;
        assert_eq!(gave_up, expected, "{failures} {how:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn who_never_tries_again_forbids_it_to_nobody() {
    let once = retry(|policy| policy.attempts = 1);
    assert!(!watched(call(&once, 1, Retryable::Yes)).await.1);
    assert!(watched(call(&once, 1, Retryable::Exhausted)).await.1, "others further on did");
}

#[tokio::test(start_paused = true)]
async fn another_policy_holds_for_calls_under_way() {
    let retry = retry(|policy| policy.attempts = 1);
    let attempts = Cell::new(0);
    let op = |attempt| {
        attempts.set(attempt);
        let mut policy = Policy::default();
        policy.attempts = 5;
        retry.configure(policy).unwrap();
        async { Err::<(), _>(()) }
    };
    retry.call(|()| Retryable::Yes, op).await.unwrap_err();
    assert_eq!(attempts.get(), 5);
}

#[test]
fn a_policy_that_cannot_be_is_refused_by_the_name_of_its_field() {
    let wrong: [Wrong; 3] = [
        ("attempts", |policy| policy.attempts = 0),
        ("attempts", |policy| policy.attempts = 101),
        ("max", |policy| policy.max = Duration::ZERO),
    ];
    let right = retry(|_| {});
    for (field, change) in wrong {
        let mut policy = Policy::default();
        change(&mut policy);
        assert_eq!(right.configure(policy).unwrap_err().field, field);
    }
    assert_eq!(*right.policy(), Policy::default());
    let named = Retry::new("No!", Policy::default(), budget(), &Metrics::new(), Clock::system());
    assert_eq!(named.unwrap_err().to_string(), "retry name must be 1 to 64 of a-z, 0-9, '.', '_' and '-'");
}

#[tokio::test(start_paused = true)]
async fn what_became_of_calls_is_counted() {
    let metrics = Metrics::new();
    let clock = TestClock::new().clock();
    let budget = Budget::new(BudgetPolicy::default(), clock.clone()).unwrap();
    let retry = Retry::new("billing", Policy::default(), budget, &metrics, clock).unwrap();
    call(&retry, 1, Retryable::Yes).await.0.unwrap();
    call(&retry, 9, Retryable::Yes).await.0.unwrap_err();
    call(&retry, 9, Retryable::After(Duration::MAX)).await.0.unwrap_err();
    Deadline::after(Duration::ZERO).scope(call(&retry, 9, Retryable::Yes)).await.0.unwrap_err();
    let text = metrics.render(Format::Prometheus);
    assert!(text.contains("retry_budget_tokens{name=\"billing\"} "), "{text}");
    while retry.budget().withdraw() {}
    call(&retry, 9, Retryable::Yes).await.0.unwrap_err();
    let text = metrics.render(Format::Prometheus);
    for line in [
        "retry_attempts_total{name=\"billing\"} 3\n",
        "retry_recovered_total{name=\"billing\"} 1\n",
        "retry_given_up_total{name=\"billing\",reason=\"attempts\"} 1\n",
        "retry_given_up_total{name=\"billing\",reason=\"budget\"} 1\n",
        "retry_given_up_total{name=\"billing\",reason=\"deadline\"} 1\n",
        "retry_given_up_total{name=\"billing\",reason=\"retry_after\"} 1\n",
    ] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
}

#[test]
fn a_call_that_succeeds_allocates_nothing() {
    let retry = retry_without_runtime();
    let call =
        || retry.call(|()| Retryable::Yes, |attempt| async move { Ok::<_, ()>(attempt) }).now_or_never();
    call();
    let allocations = allocation_counter::measure(|| {
        for _ in 0..100 {
            assert_eq!(call(), Some(Ok(1)));
        }
    });
    assert_eq!(allocations.count_total, 0);
}

fn retry_without_runtime() -> Retry {
    Retry::new("test", Policy::default(), budget(), &Metrics::new(), Clock::system()).unwrap()
}
