//! One thing at a time.

use std::time::Duration;

use futures_util::FutureExt;
use mainstay_core::bulkhead::{Bulkhead, Refusal};
use mainstay_core::deadline::Deadline;
use mainstay_core::metrics::{Format, Metrics};
use mainstay_testkit::TestClock;
use tokio::time::Instant;

use super::{bulkhead, policy};

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn nobody_waits_for_longer_than_the_policy_says() {
    let bulkhead = bulkhead(policy(1, 1, SECOND));
    let _slot = bulkhead.acquire().await.unwrap();
    let begun = Instant::now();
    assert_eq!(bulkhead.acquire().await.unwrap_err().reason, Refusal::Wait);
    assert_eq!(begun.elapsed(), SECOND);
    assert_eq!(bulkhead.waiting(), 0);
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_beyond_the_deadline() {
    let bulkhead = bulkhead(policy(1, 1, 5 * SECOND));
    let _slot = bulkhead.acquire().await.unwrap();
    let begun = Instant::now();
    let refused = Deadline::after(SECOND).scope(bulkhead.acquire()).await.unwrap_err();
    assert_eq!((refused.reason, begun.elapsed()), (Refusal::Deadline, SECOND));
}

#[tokio::test(start_paused = true)]
async fn a_line_that_is_full_refuses_at_once() {
    let bulkhead = bulkhead(policy(1, 1, SECOND));
    let slot = bulkhead.acquire().await.unwrap();
    let waiter = tokio::spawn({
        let bulkhead = bulkhead.clone();
        async move { bulkhead.acquire().await }
    });
    while bulkhead.waiting() == 0 {
        tokio::task::yield_now().await;
    }
    let begun = Instant::now();
    let refused = bulkhead.acquire().await.unwrap_err();
    assert_eq!((refused.reason, begun.elapsed()), (Refusal::Queue, Duration::ZERO));
    assert_eq!(refused.to_string(), "bulkhead test is full: no place in the line");
    drop(slot);
    drop(waiter.await.unwrap().unwrap());
}

#[tokio::test(start_paused = true)]
async fn without_a_line_or_time_to_wait_a_caller_is_refused_at_once() {
    for policy in [policy(1, 0, SECOND), policy(1, 1, Duration::ZERO)] {
        let bulkhead = bulkhead(policy);
        let _slot = bulkhead.acquire().await.unwrap();
        assert!(bulkhead.acquire().now_or_never().unwrap().is_err());
    }
}

#[tokio::test(start_paused = true)]
async fn a_smaller_size_drains_and_a_larger_one_wakes_who_waits() {
    let bulkhead = bulkhead(policy(3, 9, 60 * SECOND));
    let mut slots = Vec::new();
    for _ in 0..3 {
        slots.push(bulkhead.acquire().await.unwrap());
    }
    bulkhead.configure(policy(1, 9, 60 * SECOND)).unwrap();
    assert_eq!(bulkhead.in_flight(), 3, "nothing is taken away");
    slots.truncate(1);
    assert!(bulkhead.try_acquire().is_err());
    assert_eq!(bulkhead.in_flight(), 1);
    let waiters: Vec<_> = (0..2)
        .map(|_| {
            let bulkhead = bulkhead.clone();
            tokio::spawn(async move { bulkhead.acquire().await })
        })
        .collect();
    while bulkhead.waiting() < 2 {
        tokio::task::yield_now().await;
    }
    bulkhead.configure(policy(3, 9, 60 * SECOND)).unwrap();
    for waiter in waiters {
        slots.push(waiter.await.unwrap().unwrap());
    }
    assert_eq!((bulkhead.in_flight(), bulkhead.waiting()), (3, 0));
    assert!(bulkhead.try_acquire().is_err());
}

#[test]
fn a_policy_that_cannot_be_is_refused_by_the_name_of_its_field() {
    let right = bulkhead(policy(1, 1, SECOND));
    assert_eq!(right.configure(policy(0, 1, SECOND)).unwrap_err().field, "max_concurrent");
    assert_eq!(right.configure(policy(1, u32::MAX, SECOND)).unwrap_err().field, "max_waiting");
    assert_eq!(*right.policy(), policy(1, 1, SECOND));
    assert!(right.configure(policy(1_000_000, 1_000_000, Duration::MAX)).is_ok());
}

#[tokio::test(start_paused = true)]
async fn what_became_of_callers_is_counted() {
    let (metrics, clock) = (Metrics::new(), TestClock::new().clock());
    let bulkhead = Bulkhead::new("reports", policy(1, 1, SECOND), &metrics, clock).unwrap();
    let slot = bulkhead.acquire().await.unwrap();
    bulkhead.try_acquire().unwrap_err();
    bulkhead.acquire().await.unwrap_err();
    Deadline::after(SECOND / 2).scope(bulkhead.acquire()).await.unwrap_err();
    let waiter = tokio::spawn({
        let bulkhead = bulkhead.clone();
        async move { bulkhead.acquire().await.map(drop) }
    });
    tokio::time::sleep(SECOND / 4).await;
    let text = metrics.render(Format::Prometheus);
    drop(slot);
    waiter.await.unwrap().unwrap();
    let later = metrics.render(Format::Prometheus);
    for (text, line) in [
        (&text, "bulkhead_in_flight{name=\"reports\"} 1\n"),
        (&text, "bulkhead_waiting{name=\"reports\"} 1\n"),
        (&text, "bulkhead_refused_total{name=\"reports\",reason=\"queue\"} 1\n"),
        (&text, "bulkhead_refused_total{name=\"reports\",reason=\"wait\"} 1\n"),
        (&text, "bulkhead_refused_total{name=\"reports\",reason=\"deadline\"} 1\n"),
        (&later, "bulkhead_wait_seconds_count{name=\"reports\"} 1\n"),
        (&later, "bulkhead_in_flight{name=\"reports\"} 0\n"),
        (&later, "bulkhead_waiting{name=\"reports\"} 0\n"),
    ] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
}

#[test]
fn a_slot_that_is_free_is_taken_without_allocating() {
    let bulkhead = bulkhead(policy(2, 1, SECOND));
    let take = || drop(bulkhead.acquire().now_or_never().unwrap().unwrap());
    take();
    let allocations = allocation_counter::measure(|| (0..100).for_each(|_| take()));
    assert_eq!(allocations.count_total, 0);
}
