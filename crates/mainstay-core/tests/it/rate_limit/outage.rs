//! What is decided while the store is slow or gone.

use std::sync::Arc;
use std::time::Duration;

use mainstay_core::metrics::{Format, Metrics};
use mainstay_core::rate_limit::{Charge, Error, Memory, Options, Outage, Quota, RateLimiter, Refusal};
use mainstay_testkit::faulty::rate_limit::Faulty;
use mainstay_testkit::faulty::{Fault, Faults};
use mainstay_testkit::{Seed, TestClock};

const API: Quota = Quota::per_minute(8).named("api");
const LOGIN: Quota = Quota::per_minute(8).named("login").on_outage(Outage::Deny);
const READ: Quota = Quota::per_minute(8).named("read").on_outage(Outage::Allow);

struct Rig {
    limiter: RateLimiter,
    faults: Faults,
    metrics: Metrics,
}

fn rig() -> Rig {
    let (faults, metrics, clock) = (Faults::none(), Metrics::new(), TestClock::new().clock());
    let store = Faulty::new(Arc::new(Memory::new(1_000, clock.clone())), faults.clone());
    let mut options = Options::default();
    options.instances = 4;
    Rig { limiter: RateLimiter::new(Arc::new(store), options, &metrics, clock), faults, metrics }
}

#[tokio::test(start_paused = true)]
async fn a_process_goes_on_with_its_share() {
    let Rig { limiter, faults, metrics } = rig();
    limiter.check_cost("k", API, 5).await.unwrap();
    faults.always(Fault::Unavailable);
    for left in [1, 0] {
        let decision = limiter.check("k", API).await.unwrap();
        assert!(decision.allowed && decision.degraded);
        assert_eq!((decision.limit, decision.remaining), (8, left), "a quarter of 8 is 2");
    }
    let refused = limiter.check("k", API).await.unwrap();
    assert_eq!((refused.allowed, refused.refusal()), (false, Some(Refusal::Limit)));
    let much = limiter.check_cost("k", API, 3).await.unwrap();
    assert_eq!(much.refusal(), Some(Refusal::Outage), "the store would admit it");
    assert!(much.retry_after.is_some());
    assert_eq!(limiter.check_cost("k", API, 9).await.unwrap().refusal(), Some(Refusal::Never));
    let peek = limiter.peek("other", API).await.unwrap();
    assert!(peek.allowed && peek.degraded && peek.remaining == 2);

    faults.mend();
    let back = limiter.check("k", API).await.unwrap();
    assert_eq!((back.degraded, back.remaining), (false, 2), "the store knows what it knew");
    assert!(metrics.render(Format::Prometheus).contains("rate_limit_degraded_total{policy=\"api\"} 5"));
}

#[tokio::test(start_paused = true)]
async fn even_the_smallest_share_lets_one_pass() {
    let Rig { limiter, faults, .. } = rig();
    faults.always(Fault::Unavailable);
    for quota in [Quota::per_minute(1), Quota::per_minute(1).gcra(1)] {
        assert!(limiter.check("k", quota).await.unwrap().allowed);
        assert!(!limiter.check("k", quota).await.unwrap().allowed);
    }
}

#[tokio::test(start_paused = true)]
async fn a_quota_can_deny_and_says_it_is_not_the_clients_fault() {
    let Rig { limiter, faults, .. } = rig();
    faults.always(Fault::Unavailable);
    let denied = limiter.check("k", LOGIN).await.unwrap();
    assert_eq!((denied.allowed, denied.degraded, denied.refusal()), (false, true, Some(Refusal::Outage)));
    assert!(denied.retry_after.is_some());
    let all = limiter.check_all(&[Charge::new("k", READ), Charge::new("k", LOGIN)]).await.unwrap();
    assert!(all.iter().all(|decision| decision.refusal() == Some(Refusal::Outage)), "{all:?}");
}

#[tokio::test(start_paused = true)]
async fn a_quota_can_allow() {
    let Rig { limiter, faults, .. } = rig();
    faults.always(Fault::Unavailable);
    for _ in 0..20 {
        let decision = limiter.check("k", READ).await.unwrap();
        assert!(decision.allowed && decision.degraded);
    }
    let two = Quota::per_minute(8).named("two");
    let both = [Charge::new("k", READ), Charge::new("k", two).cost(2)];
    assert!(limiter.check_all(&both).await.unwrap().allowed());
    let refused = limiter.check_all(&both).await.unwrap();
    assert_eq!(refused[0].refusal(), Some(Refusal::Other));
    assert_eq!(refused[1].refusal(), Some(Refusal::Limit));
}

#[tokio::test(start_paused = true)]
async fn a_charge_whose_answer_was_lost_counts_as_spent_and_is_not_asked_again() {
    let Rig { limiter, faults, .. } = rig();
    faults.next(1, Fault::LostReply);
    assert!(limiter.check_cost("k", READ, 3).await.unwrap().degraded);
    assert_eq!(faults.calls(), 1);
    assert_eq!(limiter.peek("k", READ).await.unwrap().remaining, 5);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_does_not_answer_is_waited_for_half_a_second() {
    let Rig { limiter, faults, .. } = rig();
    faults.always(Fault::Hang);
    let begin = tokio::time::Instant::now();
    assert!(limiter.check("k", API).await.unwrap().degraded);
    assert_eq!(begin.elapsed(), Duration::from_millis(500), "on a clock that the test holds");
}

#[tokio::test(start_paused = true)]
async fn a_refund_goes_where_the_charge_was_made() {
    let Rig { limiter, faults, .. } = rig();
    let stored = limiter.check_cost("k", API, 2).await.unwrap();
    faults.always(Fault::Unavailable);
    let local = limiter.check_cost("k", API, 2).await.unwrap();
    assert!(local.degraded && local.allowed);
    limiter.refund("k", API, &local).await.unwrap();
    assert_eq!(limiter.peek("k", API).await.unwrap().remaining, 2);

    assert!(matches!(limiter.refund("k", API, &stored).await, Err(Error::Unavailable(_))));
    faults.mend();
    limiter.refund("k", API, &stored).await.expect("nothing had happened, so it can be tried again");
    assert_eq!(limiter.peek("k", API).await.unwrap().remaining, 8);
}

#[tokio::test(start_paused = true)]
async fn a_refund_whose_answer_was_lost_is_not_tried_again() {
    let Rig { limiter, faults, .. } = rig();
    let first = limiter.check_cost("k", API, 2).await.unwrap();
    limiter.check_cost("k", API, 4).await.unwrap();
    faults.next(1, Fault::LostReply);
    assert!(matches!(limiter.refund("k", API, &first).await, Err(Error::Unknown(_))));
    limiter.refund("k", API, &first).await.unwrap();
    assert_eq!(limiter.peek("k", API).await.unwrap().remaining, 4);
}

#[tokio::test(start_paused = true)]
async fn random_faults_and_dropped_calls_never_open_the_stores_limit() {
    let seed = Seed::from_env("MAINSTAY_SEED");
    let mut rng = seed.rng();
    for round in 0..300 {
        let Rig { limiter, faults, .. } = rig();
        faults.random(Seed::new(seed.value().wrapping_add(round)), 0.3);
        faults.delay(Duration::from_millis(2));
        let mut admitted = 0;
        for _ in 0..30 {
            let patience = Duration::from_millis(rng.below(5));
            // Dropped at its await point, or answered.
            if let Ok(decision) = tokio::time::timeout(patience, limiter.check("k", READ)).await {
                let decision = decision.unwrap();
                admitted += u32::from(decision.allowed && !decision.degraded);
            }
        }
        assert!(admitted <= 8, "{admitted}");
        faults.mend();
        let left = limiter.peek("k", READ).await.unwrap().remaining;
        assert!(admitted + left <= 8, "{admitted} admitted and {left} left");
    }
}
