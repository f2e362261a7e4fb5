//! The handle: what a caller asks and is told.

use std::time::Duration;

use mainstay_core::key::InvalidKey;
use mainstay_core::metrics::{Format, Metrics};
use mainstay_core::rate_limit::{Charge, Error, Options, Outage, Quota, RateLimiter, Refusal};
use mainstay_testkit::Seed;

use super::{Hand, most_within, now};

const API: Quota = Quota::per_minute(3).named("api");

fn limiter() -> (RateLimiter, Hand) {
    let hand = Hand::new();
    (hand.limiter(Options::default()), hand)
}

#[test]
fn a_decision_says_what_a_client_wants_to_know() {
    let (limiter, hand) = limiter();
    let first = now(limiter.check("a", API)).unwrap();
    assert!(first.allowed && !first.degraded && first.refusal().is_none());
    assert_eq!((first.limit, first.remaining, first.window), (3, 2, Duration::from_secs(60)));
    assert_eq!(first.policy(), "api");
    now(limiter.check_cost("a", API, 2)).unwrap();
    for _ in 0..3 {
        let refused = now(limiter.check("a", API)).unwrap();
        assert_eq!((refused.allowed, refused.refusal(), refused.remaining), (false, Some(Refusal::Limit), 0));
        let wait = refused.retry_after.unwrap();
        assert!(wait <= Duration::from_secs(66), "{wait:?}");
        assert_eq!(refused.reset_after, wait, "all was charged in one bucket");
    }
    hand.advance(66_000_000);
    assert!(now(limiter.check("a", API)).unwrap().allowed);
}

#[test]
fn waiting_exactly_as_told_is_enough() {
    let (limiter, hand) = limiter();
    let mut rng = Seed::from_env("MAINSTAY_SEED").rng();
    for quota in [API, API.buckets(1), API.buckets(60), API.gcra(3), Quota::new(3, Duration::from_micros(77))]
    {
        for _ in 0..300 {
            hand.advance(rng.below(30_000_000));
            let cost = 1 + u32::try_from(rng.below(3)).unwrap();
            let decision = now(limiter.check_cost("a", quota, cost)).unwrap();
            if let Some(wait) = decision.retry_after {
                hand.advance(u64::try_from(wait.as_micros()).unwrap());
                assert!(now(limiter.check_cost("a", quota, cost)).unwrap().allowed, "{decision:?}");
            }
        }
    }
}

#[test]
fn thousands_of_schedules_through_the_handle_keep_the_limit_and_count_down() {
    let mut rng = Seed::from_env("MAINSTAY_SEED").rng();
    let window = Duration::from_millis(50);
    for _ in 0..3_000 {
        let (limiter, hand) = limiter();
        let limit = *rng.pick(&[1, 3, 10]);
        let quota = Quota::new(limit, window).buckets(*rng.pick(&[1, 10, 50]));
        let (mut passed, mut last, mut admitted) = (0, None, Vec::new());
        for _ in 0..60 {
            let by = *rng.pick(&[0, 0, 0, 1, 500, 4_999, 5_000, 17_000, 49_999]);
            passed += by;
            hand.advance(by);
            if rng.chance(0.03) {
                hand.step_back(rng.below(120_000));
            }
            let cost = u32::try_from(1 + rng.below(3).min(u64::from(limit) - 1)).unwrap();
            let decision = now(limiter.check_cost("k", quota, cost)).unwrap();
            if decision.allowed {
                let at = mainstay_core::time::Moment::from_micros(passed);
                admitted.push((at, at, cost));
            }
            if by == 0
                && let Some(before) = last
            {
                assert!(decision.remaining <= before, "more is left, and no time has passed");
            }
            last = Some(decision.remaining);
        }
        let most = most_within(window, admitted);
        assert!(most <= limit, "{most} of {limit}");
    }
}

#[test]
fn what_is_more_than_the_limit_is_never_allowed_and_costs_nothing() {
    let (limiter, _) = limiter();
    for (quota, cost) in [(API, 4), (API, u32::MAX), (API.gcra(2), 3)] {
        let never = now(limiter.check_cost("a", quota, cost)).unwrap();
        assert_eq!((never.allowed, never.refusal(), never.retry_after), (false, Some(Refusal::Never), None));
    }
    assert_eq!(now(limiter.peek("a", API)).unwrap().remaining, 3);
    assert_eq!(now(limiter.peek("a", API.gcra(2))).unwrap().remaining, 2);
}

#[test]
fn a_cost_of_nothing_is_allowed_also_when_nothing_is_left() {
    let (limiter, _) = limiter();
    now(limiter.check_cost("a", API, 3)).unwrap();
    assert!(now(limiter.check_cost("a", API, 0)).unwrap().allowed);
    assert!(!now(limiter.peek("a", API)).unwrap().allowed, "one more would not be");
}

#[test]
fn several_limits_are_charged_together_or_not_at_all() {
    let (limiter, _) = limiter();
    let user = Quota::per_minute(2).named("user");
    let charges = [Charge::new("ip:1", API), Charge::new("user:1", user).cost(2)];
    assert!(now(limiter.check_all(&charges)).unwrap().allowed());
    let refused = now(limiter.check_all(&charges)).unwrap();
    assert!(!refused.allowed() && refused.iter().all(|decision| !decision.allowed));
    assert_eq!(refused[0].refusal(), Some(Refusal::Other));
    assert_eq!(refused[1].refusal(), Some(Refusal::Limit));
    assert_eq!(refused.tightest().unwrap().policy(), "user");
    assert_eq!(now(limiter.peek("ip:1", API)).unwrap().remaining, 2, "charged once");
    assert!(now(limiter.check_all(&[])).unwrap().allowed());
}

#[test]
fn a_refund_gives_back_once_and_only_what_it_was() {
    let (limiter, hand) = limiter();
    let first = now(limiter.check_cost("a", API, 2)).unwrap();
    let second = now(limiter.check("a", API)).unwrap();
    now(limiter.refund("a", API, &first.clone())).unwrap();
    assert_eq!(now(limiter.peek("a", API)).unwrap().remaining, 0, "a clone is for reading");
    now(limiter.refund("a", API, &first)).unwrap();
    now(limiter.refund("a", API, &first)).unwrap();
    assert_eq!(now(limiter.peek("a", API)).unwrap().remaining, 2);

    assert_eq!(now(limiter.refund("b", API, &second)), Err(Error::OtherDecision));
    assert_eq!(now(limiter.refund("a", API.buckets(5), &second)), Err(Error::OtherDecision));
    let peek = now(limiter.peek("a", API)).unwrap();
    now(limiter.refund("a", API, &peek)).unwrap();
    assert_eq!(now(limiter.peek("a", API)).unwrap().remaining, 2);

    hand.advance(66_000_000);
    assert!(now(limiter.check_cost("a", API, 3)).unwrap().allowed);
    now(limiter.refund("a", API, &second)).unwrap();
    assert_eq!(now(limiter.peek("a", API)).unwrap().remaining, 0, "it had left the window");
}

#[test]
fn a_refund_opens_a_limit_that_was_seen_full() {
    let (limiter, _) = limiter();
    let charged = now(limiter.check_cost("a", API, 3)).unwrap();
    for _ in 0..3 {
        assert!(!now(limiter.check("a", API)).unwrap().allowed);
    }
    now(limiter.refund("a", API, &charged)).unwrap();
    assert!(now(limiter.check("a", API)).unwrap().allowed);
}

#[test]
fn wrong_quotas_name_their_field() {
    let (limiter, _) = limiter();
    let second = Duration::from_secs(1);
    let wrong = [
        ("limit", Quota::per_second(0)),
        ("limit", Quota::per_second(0).gcra(1)),
        ("window", Quota::new(1, Duration::ZERO)),
        ("window", Quota::new(1, Duration::MAX)),
        ("window", Quota::new(1, Duration::from_micros(9))),
        ("window", Quota::new(1, Duration::from_secs(366 * 24 * 3600))),
        ("buckets", Quota::new(1, second).buckets(0)),
        ("buckets", Quota::new(1, second).buckets(61)),
        ("buckets", Quota::new(1, second).buckets(u32::MAX)),
        ("burst", Quota::new(1, second).gcra(0)),
        ("burst", Quota::new(1, Duration::from_secs(3600)).gcra(u32::MAX)),
        ("name", API.named("")),
        ("name", API.named("Api")),
        ("name", API.named("a b\n")),
        ("name", API.named("a1234567890123456789012345678901234567890123456789012345678901234")),
        ("share", API.on_outage(Outage::Local { share: Some(0.0) })),
        ("share", API.on_outage(Outage::Local { share: Some(f64::NAN) })),
        ("share", API.on_outage(Outage::Local { share: Some(1.5) })),
    ];
    for (expected, quota) in wrong {
        match now(limiter.check("a", quota)) {
            Err(Error::Quota { field, .. }) => assert_eq!(field, expected, "{quota:?}"),
            other => panic!("{quota:?}: {other:?}"),
        }
    }
    let too_many = [Charge::new("a", API); 17];
    assert!(matches!(now(limiter.check_all(&too_many)), Err(Error::Quota { field: "charges", .. })));
    let rounded = Quota::new(1, Duration::from_nanos(59_001)).buckets(60);
    assert!(now(limiter.check("a", rounded)).is_ok(), "a part of a microsecond counts as a whole one");
}

#[test]
fn wrong_keys_are_errors_and_strange_ones_are_keys() {
    let (limiter, _) = limiter();
    assert_eq!(now(limiter.check("", API)).unwrap_err(), Error::Key(InvalidKey::Empty));
    let long = "x".repeat(1 << 20);
    assert_eq!(
        now(limiter.check(&long, API)).unwrap_err(),
        Error::Key(InvalidKey::TooLong { length: 1 << 20 })
    );
    for key in ["{a}*", "a\r\nb", "\0", "..%2f", "é"] {
        assert_eq!(now(limiter.check(key, API)).unwrap().remaining, 2);
    }
}

#[test]
fn decisions_are_counted_by_policy_and_result() {
    let metrics = Metrics::new();
    let limiter = RateLimiter::in_memory(Options::default(), &metrics, Hand::new().clock());
    for _ in 0..5 {
        now(limiter.check("a", API)).unwrap();
    }
    now(limiter.check_cost("a", API, 9)).unwrap();
    now(limiter.peek("a", API)).unwrap();
    now(limiter.check("a", Quota::per_second(7))).unwrap();
    now(limiter.check_all(&[Charge::new("b", API), Charge::new("a", API)])).unwrap();
    let text = metrics.render(Format::Prometheus);
    for line in [
        "rate_limit_decisions_total{policy=\"api\",result=\"allowed\"} 3",
        "rate_limit_decisions_total{policy=\"api\",result=\"denied\"} 3",
        "rate_limit_decisions_total{policy=\"api\",result=\"never\"} 1",
        "rate_limit_decisions_total{policy=\"7-per-1s\",result=\"allowed\"} 1",
        "rate_limit_degraded_total{policy=\"api\"} 0",
        "rate_limit_keys{place=\"store\"} 3",
        "rate_limit_overflow_total{place=\"store\"} 0",
    ] {
        assert!(text.contains(line), "{line} in\n{text}");
    }
}
