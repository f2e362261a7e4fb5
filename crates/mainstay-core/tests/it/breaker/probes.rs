//! The half-open breaker, and who must not decide anything.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::FutureExt;
use mainstay_core::breaker::{Breaker, Error, Policy, State, Verdict};
use tokio::sync::Barrier;

use super::{Rig, last};

/// Opens, and waits until probes are let pass.
fn opened(policy: Policy) -> Rig {
    let rig = Rig::new(policy);
    rig.breaker.try_acquire().unwrap().open_for(Duration::from_secs(1));
    assert_eq!(rig.breaker.state(), State::Open);
    rig.wait();
    rig
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_500_calls_at_once_as_many_as_there_are_probes_reach_the_backend() {
    let mut policy = last(10);
    (policy.probes, policy.probes_to_close) = (5, 5);
    let rig = opened(policy);
    let reached = AtomicUsize::new(0);
    // Nobody ends before all have asked.
    let all = Barrier::new(500);
    let call = || async {
        let backend = || async {
            reached.fetch_add(1, Ordering::SeqCst);
            all.wait().await;
            Ok::<_, ()>(())
        };
        let result = rig.breaker.call(backend).await;
        if result.is_err() {
            all.wait().await;
        }
        result
    };
    let results = futures_util::future::join_all((0..500).map(|_| call())).await;
    assert_eq!(reached.load(Ordering::SeqCst), 5);
    assert_eq!(results.iter().filter(|result| matches!(result, Err(Error::Open(_)))).count(), 495);
    assert_eq!(rig.breaker.state(), State::Closed, "all five succeeded");
    assert!(rig.renders("breaker_not_permitted_total{name=\"it\"} 495"));
}

#[test]
fn a_dependency_that_asks_for_no_time_at_all_opens_nothing_by_that() {
    let rig = Rig::new(Policy::default());
    rig.calls(10, true);
    rig.breaker.try_acquire().unwrap().open_for(Duration::ZERO);
    assert_eq!(rig.breaker.state(), State::Closed);
    assert_eq!(rig.breaker.snapshot().failures, 1, "it failed");
}

#[test]
fn threads_that_ask_at_once_get_no_more_permits_than_there_are_probes() {
    for _ in 0..200 {
        let mut policy = last(10);
        (policy.probes, policy.probes_to_close) = (3, 1);
        let rig = opened(policy);
        let permits: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4)
                .map(|_| {
                    scope.spawn(|| {
                        (0..5).filter_map(|_| rig.breaker.try_acquire_owned().ok()).collect::<Vec<_>>()
                    })
                })
                .collect();
            threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
        });
        assert_eq!(permits.len(), 3);
    }
}

#[test]
fn clients_that_hang_up_do_not_open_it() {
    let rig = Rig::new(last(5));
    for _ in 0..5 {
        let call = rig.breaker.call(std::future::pending::<Result<(), ()>>);
        assert!(call.now_or_never().is_none(), "dropped before it ended");
    }
    assert_eq!(rig.breaker.state(), State::Closed);
    assert_eq!((rig.breaker.snapshot().calls, rig.count("cancelled")), (0, 5));
}

#[test]
fn clients_that_hang_up_on_probes_do_not_get_it_stuck() {
    let mut policy = last(5);
    (policy.probes, policy.probes_to_close) = (1, 1);
    let rig = opened(policy);
    for _ in 0..50 {
        assert!(rig.breaker.call(std::future::pending::<Result<(), ()>>).now_or_never().is_none());
        assert_eq!(rig.breaker.state(), State::HalfOpen);
    }
    rig.breaker.try_acquire().unwrap().ignore();
    rig.calls(1, true);
    assert_eq!(rig.breaker.state(), State::Closed);
}

#[test]
fn a_client_that_waited_long_counts_if_the_policy_says_so() {
    let mut policy = last(5);
    policy.cancel_is_failure_after = Some(Duration::from_secs(2));
    let rig = Rig::new(policy);
    let (patient, impatient) = (rig.breaker.try_acquire().unwrap(), rig.breaker.try_acquire().unwrap());
    rig.hand.advance(Duration::from_millis(1_999));
    drop(impatient);
    assert_eq!(rig.breaker.snapshot().calls, 0);
    rig.hand.advance(Duration::from_millis(1));
    drop(patient);
    assert_eq!(rig.breaker.state(), State::Open);
    assert_eq!((rig.count("cancelled"), rig.count("failure")), (1, 1));
}

#[test]
fn a_late_success_from_before_the_opening_does_not_close_it() {
    let mut policy = last(2);
    (policy.probes, policy.probes_to_close) = (2, 1);
    let rig = Rig::new(policy);
    let late: Vec<_> = (0..3).map(|_| rig.breaker.try_acquire().unwrap()).collect();
    let mut late = late.into_iter();
    rig.calls(1, false);
    assert_eq!(rig.breaker.state(), State::Open);
    late.next().unwrap().success();
    assert_eq!(rig.breaker.state(), State::Open, "it decides nothing while open");

    rig.wait();
    let probe = rig.breaker.try_acquire().unwrap();
    late.next().unwrap().success();
    assert_eq!(rig.breaker.state(), State::HalfOpen, "nor among probes");
    probe.success();
    assert_eq!(rig.breaker.state(), State::Closed);
    late.next().unwrap().open_for(Duration::from_secs(9));
    assert_eq!((rig.breaker.state(), rig.breaker.snapshot().calls), (State::Closed, 0), "nor after");
    assert_eq!(rig.late(), 3);
}

#[test]
fn a_probe_that_never_ends_is_given_up_and_its_outcome_comes_too_late() {
    let mut policy = last(5);
    (policy.probes, policy.probes_to_close) = (1, 1);
    policy.probe_lease = Duration::from_secs(10);
    let rig = opened(policy);
    let lost = rig.breaker.try_acquire().unwrap();
    rig.hand.advance(Duration::from_secs(10) - Duration::from_micros(1));
    assert_eq!(rig.breaker.try_acquire().unwrap_err().state, State::HalfOpen);
    rig.hand.advance(Duration::from_micros(1));
    assert_eq!(rig.breaker.try_acquire().unwrap_err().state, State::Open, "its only probe failed");
    rig.wait();
    let probe = rig.breaker.try_acquire().unwrap();
    lost.success();
    assert_eq!((rig.breaker.state(), rig.late()), (State::HalfOpen, 1));
    probe.success();
    assert_eq!(rig.breaker.state(), State::Closed);
    assert!(rig.renders("breaker_lost_probes_total{name=\"it\"} 1"));
}

async fn panics_in_call() -> Result<(), ()> {
    panic!("in the call")
}

#[test]
fn a_panic_leaks_nothing() {
    let mut policy = last(5);
    (policy.probes, policy.probes_to_close) = (1, 1);
    let rig = opened(policy);
    let panics = |run: &dyn Fn()| {
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)).expect_err("it panicked");
    };
    panics(&|| {
        let _ = rig.breaker.call(panics_in_call).now_or_never();
    });
    assert_eq!((rig.breaker.state(), rig.count("cancelled")), (State::HalfOpen, 1), "neutral");
    panics(&|| {
        let classify = |_: &Result<(), ()>| panic!("in the classifier");
        let _ = rig.breaker.call_with(classify, || async { Ok(()) }).now_or_never();
    });
    assert_eq!(rig.breaker.state(), State::Open, "the probe failed and is not under way any more");
    rig.wait();
    rig.calls(1, true);
    assert_eq!(rig.breaker.state(), State::Closed);
}

#[test]
fn slow_probes_open_it_again() {
    let mut policy = last(5);
    policy.slow_call = Duration::from_secs(1);
    (policy.probes, policy.probes_to_close) = (2, 2);
    let rig = opened(policy);
    let probes = [rig.breaker.try_acquire().unwrap(), rig.breaker.try_acquire().unwrap()];
    rig.hand.advance(Duration::from_secs(1));
    probes.into_iter().for_each(mainstay_core::breaker::Permit::success);
    assert_eq!(rig.breaker.state(), State::Open);
    assert_eq!(rig.breaker.snapshot().last_opening.as_deref(), Some("2 of 2 probes were slow"));
}

#[test]
fn who_classifies_says_what_counts() {
    let rig = Rig::new(last(100));
    let call = |breaker: &Breaker, result: Result<u16, u16>| {
        let classify = |result: &Result<u16, u16>| match result {
            Ok(500..) => Verdict::Failure,
            Ok(_) => Verdict::Success,
            Err(404) => Verdict::Ignore,
            Err(_) => Verdict::FailureFor(Duration::from_secs(7)),
        };
        breaker.call_with(classify, || async move { result }).now_or_never().unwrap()
    };
    (0..3).for_each(|_| drop(call(&rig.breaker, Ok(200))));
    assert_eq!(call(&rig.breaker, Ok(500)), Ok(500));
    assert_eq!(call(&rig.breaker, Err(404)), Err(Error::Inner(404)));
    let snapshot = rig.breaker.snapshot();
    assert_eq!((snapshot.calls, snapshot.failures, snapshot.failure_rate), (4, 1, 0.25));
    assert_eq!(call(&rig.breaker, Err(503)), Err(Error::Inner(503)));
    let refused = call(&rig.breaker, Ok(200)).unwrap_err();
    let Error::Open(open) = &refused else { panic!("{refused:?}") };
    assert_eq!(open.retry_after, Duration::from_secs(7));
    assert_eq!(refused.fallback(|| 1), Ok(1));
    let ended = ["success", "failure", "ignored", "cancelled", "slow"].map(|end| rig.count(end));
    assert_eq!(ended, [3, 2, 1, 0, 0]);
}
