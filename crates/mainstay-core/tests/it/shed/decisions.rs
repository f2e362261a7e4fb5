//! Decisions against a recomputation from all that was ever asked.

use std::time::Duration;

use mainstay_core::metrics::{Format, Metrics};
use mainstay_core::shed::{Policy, Priority, Shedder};
use proptest::prelude::*;

use crate::hand::Hand;

const TARGET: u64 = 5_000;
const INTERVAL: u64 = 100_000;

fn shedder(hand: &Hand) -> Shedder {
    Shedder::new("http", Policy::default(), &Metrics::new(), hand.clock()).unwrap()
}

fn micros(micros: u64) -> Duration {
    Duration::from_micros(micros)
}

/// Feeds a request with this delay every 10 ms.
fn feed(shedder: &Shedder, hand: &Hand, requests: u32, delay: u64) -> usize {
    let shed = |_: &u32| {
        hand.advance(micros(10_000));
        shedder.admit(Priority::Normal, micros(delay)).is_err()
    };
    (0..requests).filter(shed).count()
}

/// Whether a normal request is shed that has queued for `delay` and comes last in `asked` (time, delay).
fn is_shed(asked: &[(u64, u64)], priority: Priority) -> bool {
    let (mut begun, mut overloaded) = (asked[0].0, false);
    for (at, _) in asked {
        if *at < begun + INTERVAL {
            continue;
        }
        let within = asked.iter().filter(|(other, _)| (begun..begun + INTERVAL).contains(other));
        let least = within.map(|(_, delay)| *delay).min();
        let paused = *at >= begun + 2 * INTERVAL;
        overloaded = !paused && least.is_some_and(|least| least > TARGET);
        begun = *at;
    }
    let (_, delay) = asked.last().unwrap();
    let times = match priority {
        Priority::Low => 1,
        _ => 2,
    };
    overloaded && *delay > TARGET * times
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(200) })]

    #[test]
    fn every_decision_is_that_of_a_recomputation(
        requests in prop::collection::vec(
            (prop_oneof![9 => 0_u64..30_000, 1 => 0_u64..300_000], 4_000_u64..14_000, 0..3),
            1..200,
        ),
    ) {
        let hand = Hand::new();
        let shedder = shedder(&hand);
        let (mut now, mut asked) = (1_000_000, Vec::new());
        for (passed, delay, kind) in requests {
            hand.advance(micros(passed));
            now += passed;
            if kind == 2 {
                prop_assert!(shedder.admit(Priority::Critical, micros(delay)).is_ok());
                continue;
            }
            let priority = if kind == 0 { Priority::Low } else { Priority::Normal };
            asked.push((now, delay));
            prop_assert_eq!(shedder.admit(priority, micros(delay)).is_err(), is_shed(&asked, priority));
        }
    }
}

#[test]
fn a_burst_that_the_queue_absorbs_sheds_nothing() {
    let hand = Hand::new();
    let shedder = shedder(&hand);
    for _ in 0..50 {
        assert_eq!(feed(&shedder, &hand, 9, 80_000), 0);
        assert_eq!(feed(&shedder, &hand, 1, 4_000), 0, "it has emptied");
    }
    assert!(!shedder.is_overloaded());
}

#[test]
fn a_queue_that_never_empties_sheds_until_it_does() {
    let hand = Hand::new();
    let shedder = shedder(&hand);
    assert_eq!(feed(&shedder, &hand, 10, 80_000), 0, "nothing is known before the first interval ends");
    assert_eq!(feed(&shedder, &hand, 90, 80_000), 90);
    assert!(shedder.is_overloaded());
    assert_eq!(feed(&shedder, &hand, 11, 5_000), 0);
    assert_eq!(feed(&shedder, &hand, 9, 80_000), 0, "the last interval was in time");
    hand.advance(micros(2 * INTERVAL));
    assert!(!shedder.is_overloaded(), "nobody asks any more");
}

#[test]
fn the_least_important_goes_first_and_health_never() {
    let hand = Hand::new();
    let shedder = shedder(&hand);
    feed(&shedder, &hand, 20, 80_000);
    let admits = |priority, delay| shedder.admit(priority, micros(delay)).is_ok();
    assert!(admits(Priority::Low, 5_000) && !admits(Priority::Low, 5_001));
    assert!(admits(Priority::Normal, 10_000) && !admits(Priority::Normal, 10_001));
    assert!(admits(Priority::Critical, u64::MAX));
    assert!(Priority::Low < Priority::Normal && Priority::Normal < Priority::Critical);
}

#[test]
fn health_traffic_does_not_hide_an_overload() {
    let hand = Hand::new();
    let shedder = shedder(&hand);
    for _ in 0..20 {
        shedder.admit(Priority::Critical, Duration::ZERO).unwrap();
        feed(&shedder, &hand, 1, 80_000);
    }
    assert!(shedder.is_overloaded());
}

#[test]
fn another_policy_holds_at_once_and_keeps_what_is_known() {
    let hand = Hand::new();
    let shedder = shedder(&hand);
    feed(&shedder, &hand, 20, 80_000);
    let mut policy = Policy::default();
    (policy.target, policy.retry_after) = (micros(35_000), micros(7));
    shedder.configure(policy.clone()).unwrap();
    assert!(shedder.admit(Priority::Normal, micros(70_000)).is_ok());
    assert_eq!(shedder.admit(Priority::Normal, micros(70_001)).unwrap_err().retry_after, micros(7));
    policy.interval = policy.target;
    assert_eq!(shedder.configure(policy).unwrap_err().field, "interval");
}

#[test]
fn what_is_shed_is_counted() {
    let (hand, metrics) = (Hand::new(), Metrics::new());
    let shedder = Shedder::new("http", Policy::default(), &metrics, hand.clock()).unwrap();
    feed(&shedder, &hand, 12, 80_000);
    shedder.admit(Priority::Low, micros(6_000)).unwrap_err();
    let text = metrics.render(Format::Prometheus);
    for line in [
        "shed_requests_total{name=\"http\",priority=\"low\"} 1\n",
        "shed_requests_total{name=\"http\",priority=\"normal\"} 2\n",
        "shed_overloaded{name=\"http\"} 1\n",
    ] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
}

#[test]
fn a_decision_allocates_nothing() {
    let hand = Hand::new();
    let shedder = shedder(&hand);
    feed(&shedder, &hand, 20, 80_000);
    let allocations = allocation_counter::measure(|| assert_eq!(feed(&shedder, &hand, 100, 80_000), 100));
    assert_eq!(allocations.count_total, 0);
}
