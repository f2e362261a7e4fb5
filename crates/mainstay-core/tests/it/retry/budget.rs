//! The budget against the simplest one that could be.

use std::thread;
use std::time::Duration;

use mainstay_core::retry::{Budget, BudgetPolicy};
use mainstay_core::time::{Clock, Moment};
use proptest::prelude::*;

use crate::hand::Hand;

fn policy(ratio: f64, per_second: f64, burst: f64) -> BudgetPolicy {
    let mut policy = BudgetPolicy::default();
    (policy.ratio, policy.per_second, policy.burst) = (ratio, per_second, burst);
    policy
}

#[derive(Debug, Clone, Copy)]
enum Step {
    Pass(u64),
    Deposit,
    Withdraw,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        2 => (0_u64..3_000).prop_map(Step::Pass),
        3 => Just(Step::Deposit),
        4 => Just(Step::Withdraw),
    ];
    prop::collection::vec(step, 1..300)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(100) })]

    #[test]
    fn every_answer_is_that_of_a_bucket_filled_at_every_step(
        steps in steps(),
        ratio in 0_u64..1_500,
        per_second in 0_u64..4,
        burst in 1_u64..20,
    ) {
        let hand = Hand::new();
        let policy = policy(ratio as f64 / 1e3, per_second as f64, burst as f64);
        let budget = Budget::new(policy, hand.clock()).unwrap();
        // In thousandths; a whole number per second is a whole number of them per millisecond.
        let most = burst * 1_000;
        let mut balance = most;
        for step in steps {
            match step {
                Step::Pass(millis) => {
                    hand.advance(Duration::from_millis(millis));
                    balance = (balance + millis * per_second).min(most);
                }
                Step::Deposit => {
                    budget.deposit();
                    balance = (balance + ratio).min(most);
                }
                Step::Withdraw => {
                    prop_assert_eq!(budget.withdraw(), balance >= 1_000);
                    balance -= if balance >= 1_000 { 1_000 } else { 0 };
                }
            }
            prop_assert!((budget.balance() - balance as f64 / 1e3).abs() < 1e-9);
        }
    }

    /// B5, for every stretch of time, with rates that do not come out even.
    #[test]
    fn no_stretch_of_time_holds_more_than_its_share(
        steps in steps(),
        ratio in 0.0..1.5,
        per_second in 0.0..30.0,
        burst in 1.0..20.0,
    ) {
        let hand = Hand::new();
        let budget = Budget::new(policy(ratio, per_second, burst), hand.clock()).unwrap();
        let (mut now, mut requests) = (0, 0_u32);
        // For each attempt paid for: when, and requests until then.
        let mut paid = Vec::new();
        for step in steps {
            match step {
                Step::Pass(millis) => {
                    hand.advance(Duration::from_millis(millis));
                    now += millis;
                }
                Step::Deposit => {
                    budget.deposit();
                    requests += 1;
                }
                Step::Withdraw => {
                    if budget.withdraw() {
                        paid.push((now, requests));
                    }
                }
            }
        }
        for (first, (begin, before)) in paid.iter().enumerate() {
            for (last, (end, until)) in paid.iter().enumerate().skip(first) {
                let bound = ratio * f64::from(until - before) + per_second * (end - begin) as f64 / 1e3 + burst;
                prop_assert!((last - first + 1) as f64 <= bound + 0.01);
            }
        }
    }

    #[test]
    fn rates_that_do_not_come_out_even_are_paid_all_the_same(per_second in 0.01..30.0) {
        let hand = Hand::new();
        let budget = Budget::new(policy(0.0, per_second, 2.0), hand.clock()).unwrap();
        let seconds = 2_000;
        let paid = (0..seconds * 10).filter(|_| {
            hand.advance(Duration::from_millis(100));
            budget.withdraw()
        });
        // Ten questions a second.
        let due = per_second.min(10.0) * f64::from(seconds);
        let paid = paid.count() as f64;
        prop_assert!(paid >= due * 0.9 && paid <= due + 2.0, "{paid} of {due}");
    }
}

#[test]
fn threads_spend_each_token_once() {
    let budget = Budget::new(policy(1.0, 0.0, 1_000.0), Clock::system()).unwrap();
    while budget.withdraw() {}
    let spent: usize = thread::scope(|scope| {
        let work = |_| {
            scope.spawn(|| {
                let round = |_: &u32| {
                    budget.deposit();
                    budget.withdraw() | budget.withdraw()
                };
                (0..10_000).filter(round).count()
            })
        };
        let threads: Vec<_> = (0..4).map(work).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    // One of the two withdrawals of a round may come to nothing, and be made up for by another thread's.
    assert!(spent <= 40_000);
    let rest = std::iter::repeat_with(|| budget.withdraw()).take_while(|paid| *paid).count();
    assert!(spent + rest <= 40_000, "{spent} and {rest}");
}

#[test]
fn clones_share_what_there_is() {
    let budget = Budget::new(policy(0.0, 0.0, 2.0), Clock::system()).unwrap();
    let other = budget.clone();
    assert!(budget.withdraw() && other.withdraw());
    assert!(!budget.withdraw() && !other.withdraw());
}

#[test]
fn another_policy_keeps_what_was_saved_as_far_as_it_may() {
    let hand = Hand::new();
    let budget = Budget::new(policy(0.2, 0.0, 10.0), hand.clock()).unwrap();
    hand.advance(Duration::from_secs(100));
    budget.configure(policy(0.2, 1.0, 20.0)).unwrap();
    assert!((budget.balance() - 10.0).abs() < 1e-9, "the time before was worth nothing");
    hand.advance(Duration::from_secs(3));
    assert!((budget.balance() - 13.0).abs() < 1e-9);
    budget.configure(policy(0.2, 1.0, 5.0)).unwrap();
    assert!((budget.balance() - 5.0).abs() < 1e-9);
    assert_eq!(budget.configure(policy(0.2, 1.0, 0.0)).unwrap_err().field, "burst");
    assert_eq!(budget.configure(policy(f64::NAN, 1.0, 5.0)).unwrap_err().field, "ratio");
    assert_eq!(budget.configure(policy(0.2, -1.0, 5.0)).unwrap_err().field, "per_second");
}

#[test]
fn no_number_of_requests_is_too_large() {
    let hand = Hand::new();
    let budget = Budget::new(policy(10_000.0, 0.0, 1.0), hand.clock()).unwrap();
    (0..100).for_each(|_| budget.deposit());
    assert!(budget.withdraw() && !budget.withdraw());
}

#[test]
fn no_time_is_too_long() {
    let hand = Hand::new();
    let budget = Budget::new(policy(10_000.0, 10_000.0, 10_000.0), hand.clock()).unwrap();
    while budget.withdraw() {}
    hand.set(Moment::NEVER);
    assert!((budget.balance() - 10_000.0).abs() < 1e-9);
    assert!(budget.withdraw());
    budget.deposit();
}
