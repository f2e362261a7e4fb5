use std::future::pending;

use mainstay_core::pipeline::{Error, Limit, Outcome};
use mainstay_core::{adaptive, bulkhead, hedge};
use tokio::time::{Instant, sleep};

use super::{classify, fixture, millis, policy};

#[tokio::test(start_paused = true)]
async fn calls_beyond_the_limit_and_its_line_are_refused_and_say_nothing_of_the_dependency() {
    let mut policy = policy();
    let mut limit = bulkhead::Policy::default();
    (limit.max_concurrent, limit.max_waiting) = (1, 0);
    policy.limit = Limit::Fixed(limit);
    let fixture = fixture(policy);
    let first = fixture.pipeline.call(classify, |_| async {
        sleep(millis(50)).await;
        Ok(200)
    });
    let (first, second) = tokio::join!(first, fixture.call(&[Ok(200)]));
    assert_eq!(first.unwrap(), 200);
    assert!(matches!(&second, Err(Error::Full { name }) if &**name == "prices"), "{second:?}");
    assert_eq!((fixture.made.get(), fixture.ended("full")), (0, 1));
    assert_eq!(fixture.pipeline.breaker().snapshot().calls, 1);
}

#[tokio::test(start_paused = true)]
async fn an_adaptive_limit_refuses_what_is_beyond_it() {
    let mut policy = policy();
    let mut limit = adaptive::Policy::default();
    (limit.min, limit.initial, limit.max) = (1, 2, 10);
    policy.limit = Limit::Adaptive(limit);
    let fixture = fixture(policy);
    let hang = || {
        fixture.pipeline.call(classify, |_| async {
            sleep(millis(50)).await;
            Ok(200)
        })
    };
    let (one, two, three) = tokio::join!(hang(), hang(), hang());
    assert!(one.is_ok() && two.is_ok());
    assert!(matches!(three, Err(Error::Full { .. })));
}

#[tokio::test(start_paused = true)]
async fn a_slow_attempt_is_hedged_and_the_faster_one_wins() {
    let mut policy = policy();
    let mut hedging = hedge::Policy::default();
    (hedging.min_samples, hedging.min_delay) = (16, millis(10));
    policy.hedge = Some(hedging);
    let fixture = fixture(policy);
    for _ in 0..40 {
        fixture.call(&[Ok(200)]).await.unwrap();
    }
    let begun = Instant::now();
    let hedged = fixture
        .pipeline
        .call(classify, |attempt| async move { if attempt.is_hedge { Ok(201) } else { pending().await } });
    assert_eq!(hedged.await.unwrap(), 201);
    assert!(begun.elapsed() < millis(1_000), "{:?}", begun.elapsed());
    assert_eq!(fixture.pipeline.breaker().snapshot().calls, 41, "both were one attempt");
}

#[tokio::test(start_paused = true)]
async fn without_a_policy_for_it_nothing_is_hedged() {
    let fixture = fixture(policy());
    for _ in 0..40 {
        fixture.call(&[Ok(200)]).await.unwrap();
    }
    let slow = fixture.pipeline.call(classify, |attempt| async move {
        assert!(!attempt.is_hedge);
        sleep(millis(2_000)).await;
        Ok(200)
    });
    assert_eq!(slow.await.unwrap(), 200);
}

#[tokio::test(start_paused = true)]
async fn what_must_not_be_repeated_is_not_hedged_either() {
    let mut policy = policy();
    let mut hedging = hedge::Policy::default();
    (hedging.min_samples, hedging.min_delay) = (16, millis(10));
    policy.hedge = Some(hedging);
    let fixture = fixture(policy);
    for _ in 0..40 {
        fixture.call(&[Ok(200)]).await.unwrap();
    }
    let slow = fixture.pipeline.call(
        |outcome: Outcome<'_, _, _>| classify(outcome).once(),
        |attempt| async move {
            assert!(!attempt.is_hedge);
            sleep(millis(2_000)).await;
            Ok(200)
        },
    );
    assert_eq!(slow.await.unwrap(), 200);
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_a_place_and_gets_it_is_not_counted_as_refused() {
    let mut policy = policy();
    let mut limit = bulkhead::Policy::default();
    (limit.max_concurrent, limit.max_waiting) = (1, 1);
    policy.limit = Limit::Fixed(limit);
    let fixture = fixture(policy);
    let slow = || {
        fixture.pipeline.call(classify, |_| async {
            sleep(millis(50)).await;
            Ok(200)
        })
    };
    let (first, second) = tokio::join!(slow(), slow());
    assert_eq!((first.unwrap(), second.unwrap()), (200, 200));
    let labels = [("name", "prices"), ("reason", "queue")];
    let refused = fixture.metrics.counter("bulkhead_refused_total").with(&labels);
    assert_eq!(refused.get(), 0);
    let (_, _, third) = tokio::join!(slow(), slow(), slow());
    assert!(matches!(third, Err(Error::Full { .. })));
    assert_eq!(refused.get(), 1);
}
