//! Policies, modes and what is told.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use mainstay_core::breaker::{Breaker, Mode, Permit, Policy, Reason, State, Window};
use mainstay_core::metrics::Metrics;
use mainstay_core::time::Clock;

use super::{Rig, last};

#[test]
fn a_wrong_policy_is_refused_by_the_name_of_its_field() {
    type Change = fn(&mut Policy);
    let cases: [(&str, Change); 15] = [
        ("window", |policy| policy.window = Window::Count(0)),
        ("window", |policy| policy.window = Window::Time(Duration::from_millis(9))),
        ("min_calls", |policy| policy.min_calls = 0),
        ("min_calls", |policy| policy.min_calls = 101),
        ("failure_rate", |policy| policy.failure_rate = f64::NAN),
        ("failure_rate", |policy| policy.failure_rate = 1.1),
        ("slow_call", |policy| policy.slow_call = Duration::ZERO),
        ("slow_rate", |policy| policy.slow_rate = 0.0),
        ("consecutive_failures", |policy| policy.consecutive_failures = Some(0)),
        ("open_for", |policy| policy.open_for = Duration::ZERO),
        ("open_max", |policy| policy.open_max = Duration::MAX),
        ("open_max", |policy| policy.open_max = Duration::from_secs(1)),
        ("probes", |policy| policy.probes = 0),
        ("probes_to_close", |policy| policy.probes_to_close = 6),
        ("probe_lease", |policy| policy.probe_lease = Duration::MAX),
    ];
    let rig = Rig::new(Policy::default());
    for (field, change) in cases {
        let mut policy = Policy::default();
        change(&mut policy);
        assert_eq!(policy.check().unwrap_err().field, field);
        assert_eq!(rig.breaker.configure(policy).unwrap_err().field, field);
    }
    assert_eq!(rig.breaker.policy(), Policy::default());
    for name in ["", "UPPER", "a b", &"x".repeat(65)] {
        let wrong = Breaker::new(name, Policy::default(), &Metrics::new(), Clock::system());
        assert_eq!(wrong.unwrap_err().field, "name");
    }
}

#[test]
fn a_new_policy_keeps_the_window_and_the_permits_of_calls_under_way() {
    let mut policy = last(2_000);
    policy.min_calls = 1_500;
    let rig = Rig::new(policy.clone());
    rig.calls(600, true);
    rig.calls(200, false);
    let permits: Vec<_> = (0..1_000).map(|_| rig.breaker.try_acquire().unwrap()).collect();
    for (window, calls, failures) in [
        (Window::Count(100_000), 800, 200),
        (Window::Count(1_000), 800, 200),
        (Window::Time(Duration::from_secs(60)), 800, 200),
        // What came when is not known any more: the newest have failed as often as all.
        (Window::Count(500), 500, 125),
        (Window::Count(2_000), 500, 125),
    ] {
        policy.window = window;
        policy.min_calls = if window == Window::Count(500) { 500 } else { 1_000 };
        rig.breaker.configure(policy.clone()).unwrap();
        let snapshot = rig.breaker.snapshot();
        assert_eq!((snapshot.calls, snapshot.failures), (calls, failures), "{window:?}");
    }
    policy.min_calls = 1_500;
    rig.breaker.configure(policy).unwrap();
    for (index, permit) in permits.into_iter().enumerate() {
        assert_eq!(rig.breaker.state(), State::Closed, "after {index}");
        if index < 350 { permit.success() } else { permit.failure() }
    }
    let snapshot = rig.breaker.snapshot();
    assert_eq!((snapshot.state, rig.late()), (State::Open, 0));
    assert_eq!(snapshot.last_opening.as_deref(), Some("775 of 1500 calls failed"));
}

#[test]
fn a_new_policy_holds_for_threads_that_are_calling() {
    let mut policy = last(1_000);
    policy.min_calls = 200;
    policy.failure_rate = 0.6;
    let rig = Rig::new(policy.clone());
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                for round in 0..3_000 {
                    let permit = rig.breaker.try_acquire().unwrap();
                    if round % 3 == 0 { permit.failure() } else { permit.success() }
                }
            });
        }
        for round in 0..300_u64 {
            let sizes = [Window::Count(1_000), Window::Time(Duration::from_secs(9)), Window::Count(300)];
            policy.window = sizes[usize::try_from(round % 3).unwrap()];
            policy.slow_call = [Duration::MAX, Duration::from_secs(1)][usize::from(round % 2 == 0)];
            rig.breaker.configure(policy.clone()).unwrap();
            let snapshot = rig.breaker.snapshot();
            assert!(snapshot.failures <= snapshot.calls, "{snapshot:?}");
        }
    });
    (policy.window, policy.min_calls) = (Window::Count(100), 100);
    rig.breaker.configure(policy).unwrap();
    rig.calls(60, true);
    rig.calls(40, false);
    let snapshot = rig.breaker.snapshot();
    assert_eq!((snapshot.calls, snapshot.failures, snapshot.slow), (100, 40, 0));
    let ended = (rig.count("success"), rig.count("failure"), rig.late());
    assert_eq!(ended, (6_060, 3_040, 0), "no permit was lost");
}

#[test]
fn slow_calls_open_it_only_if_they_are_looked_for() {
    for (slow_call, state) in [(Duration::MAX, State::Closed), (Duration::from_secs(1), State::Open)] {
        let mut policy = last(4);
        policy.slow_call = slow_call;
        policy.slow_rate = 0.5;
        policy.min_calls = 4;
        let rig = Rig::new(policy);
        rig.calls(2, true);
        let permits = [rig.breaker.try_acquire().unwrap(), rig.breaker.try_acquire().unwrap()];
        rig.hand.advance(Duration::from_secs(1));
        permits.into_iter().for_each(Permit::success);
        assert_eq!(rig.breaker.state(), state);
    }
}

#[test]
fn forced_open_refuses_all_and_disabled_none() {
    let rig = Rig::new(last(5));
    let late = rig.breaker.try_acquire().unwrap();
    rig.breaker.force(Mode::ForcedOpen);
    rig.hand.advance(Duration::from_secs(1_000_000));
    assert_eq!(rig.breaker.try_acquire().unwrap_err().retry_after, Policy::default().open_for);
    late.success();
    assert_eq!((rig.breaker.state(), rig.late()), (State::Open, 1));

    rig.breaker.force(Mode::Disabled);
    rig.calls(50, false);
    assert_eq!((rig.breaker.state(), rig.breaker.mode()), (State::Closed, Mode::Disabled));
    assert_eq!((rig.breaker.snapshot().calls, rig.count("failure")), (0, 0), "nothing is recorded");

    let untracked = rig.breaker.try_acquire().unwrap();
    rig.breaker.force(Mode::Automatic);
    untracked.failure();
    assert_eq!(rig.breaker.snapshot().calls, 0);
    rig.calls(1, false);
    assert_eq!(rig.breaker.state(), State::Open);
    rig.breaker.reset();
    rig.calls(1, true);
    assert_eq!((rig.breaker.state(), rig.breaker.snapshot().calls), (State::Closed, 1));
}

#[test]
fn a_forced_open_breaker_says_the_open_time_of_its_policy_when_that_changes_too() {
    let mut policy = last(5);
    let rig = Rig::new(policy.clone());
    rig.breaker.force(Mode::ForcedOpen);
    policy.open_for = Duration::from_secs(9);
    rig.breaker.configure(policy).unwrap();
    assert_eq!(rig.breaker.try_acquire().unwrap_err().retry_after, Duration::from_secs(9));
    assert_eq!(rig.breaker.snapshot().retry_after, Duration::from_secs(9));
}

#[test]
fn what_opened_it_is_shown_for_as_long_as_it_is_open() {
    let mut policy = Policy::default();
    policy.window = Window::Time(Duration::from_secs(1));
    let rig = Rig::new(policy);
    rig.calls(10, true);
    rig.calls(10, false);
    assert_eq!(rig.breaker.state(), State::Open);
    rig.hand.advance(Duration::from_secs(4));
    let snapshot = rig.breaker.snapshot();
    assert_eq!((snapshot.calls, snapshot.failures, snapshot.failure_rate), (20, 10, 0.5));
}

#[test]
fn a_breaker_that_observes_refuses_nobody_and_tells_what_it_would_do() {
    let mut policy = last(5);
    (policy.probes, policy.probes_to_close) = (1, 1);
    let rig = Rig::new(policy);
    rig.calls(4, true);
    rig.breaker.force(Mode::Observe);
    assert_eq!(rig.breaker.snapshot().calls, 4, "nothing is lost");
    rig.calls(3, false);
    assert_eq!(rig.breaker.state(), State::Open);
    rig.calls(10, false);
    assert_eq!(rig.breaker.snapshot().not_permitted, 10);
    rig.wait();
    let probe = rig.breaker.try_acquire().unwrap();
    rig.calls(2, false);
    probe.success();
    assert_eq!(rig.breaker.state(), State::Closed, "its probe decides, not the calls it would have refused");
    assert_eq!((rig.count("failure"), rig.count("success"), rig.late()), (15, 5, 0));

    rig.calls(3, false);
    rig.breaker.force(Mode::Automatic);
    assert!(rig.breaker.try_acquire().is_err(), "now it does what it told");
}

#[test]
fn changes_are_told_with_their_reasons() {
    let rig = Rig::new(last(4));
    let told = Arc::new(Mutex::new(Vec::new()));
    let (ears, breaker) = (told.clone(), rig.breaker.clone());
    rig.breaker.on_change(|_| panic!("a listener that panics"));
    rig.breaker.on_change(move |change| {
        assert_eq!(breaker.state(), change.to, "a listener may use the breaker");
        ears.lock().unwrap().push((change.to, change.reason, change.generation));
    });
    rig.calls(2, true);
    rig.calls(2, false);
    rig.wait();
    rig.calls(3, true);
    rig.breaker.force(Mode::ForcedOpen);

    let told = told.lock().unwrap();
    let reasons: Vec<_> = told.iter().map(|(to, reason, _)| (*to, *reason)).collect();
    let expected = [
        (State::Open, Reason::FailureRate { failures: 2, calls: 4 }),
        (State::HalfOpen, Reason::TimeOver),
        (State::Closed, Reason::ProbesSucceeded(3)),
        (State::Open, Reason::Forced(Mode::ForcedOpen)),
    ];
    assert_eq!(reasons, expected);
    assert!(told.is_sorted_by(|one, next| one.2 < next.2), "generations grow");
    assert!(rig.renders("breaker_state{name=\"it\"} 2"));
    assert!(rig.renders("breaker_transitions_total{name=\"it\",to=\"open\"} 2"));
    let shown = serde_json::to_value(rig.breaker.snapshot()).unwrap();
    assert_eq!(shown["state"], "open");
    assert_eq!(shown["mode"], "forced_open");
    assert_eq!(shown["last_opening"], "set to forced_open by hand");
    assert_eq!(shown["opened_at"], "1970-01-01T00:00:00Z");
    assert_eq!(shown["retry_after"], 5.0);
}

#[test]
fn at_the_longest_open_time_instances_still_do_not_come_back_together() {
    let rig = Rig::new(Policy::consecutive(1, Duration::from_secs(1)));
    let longest = rig.breaker.policy().open_max;
    rig.calls(1, false);
    let at_the_end = (0..100).filter(|_| {
        rig.wait();
        rig.calls(1, false);
        rig.breaker.snapshot().retry_after == longest
    });
    assert!(at_the_end.count() < 5);
}

#[test]
fn open_times_double_until_it_closes_and_differ() {
    let mut policy = last(1);
    (policy.probes, policy.probes_to_close) = (1, 1);
    policy.open_for = Duration::from_secs(1);
    policy.open_max = Duration::from_secs(10);
    let rig = Rig::new(policy);
    let mut firsts = Vec::new();
    for _ in 0..40 {
        for longest in [1, 2, 4, 8, 10, 10] {
            rig.calls(1, false);
            let waits = rig.breaker.snapshot().retry_after.as_secs_f64();
            let longest = f64::from(longest);
            assert!(
                (0.799_999 * longest..=(1.2 * longest).min(10.0)).contains(&waits),
                "{waits} of {longest}"
            );
            if longest < 2.0 {
                firsts.push(waits);
            }
            rig.wait();
        }
        rig.calls(1, true);
        assert_eq!(rig.breaker.state(), State::Closed);
    }
    let below = firsts.iter().filter(|waits| **waits < 1.0).count();
    assert!((1..40).contains(&below), "{below} of 40 are below the middle");
}
