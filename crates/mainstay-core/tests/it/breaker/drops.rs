//! Permits that are dropped, cancelled and lost in panics, at random and on several threads. `MAINSTAY_ROUNDS`
//! multiplies the calls: 100 make a million.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Waker};
use std::time::Duration;

use mainstay_core::breaker::{Policy, State, Verdict, Window};
use mainstay_testkit::{Rng, Seed};

use super::{Rig, last, rounds};

const THREADS: usize = 4;

/// Whether a permit was given out.
fn one_call(rig: &Rig, rng: &mut Rng) -> bool {
    let breaker = &rig.breaker;
    let failing = rng.chance(0.4);
    let result = move || async move {
        tokio::task::yield_now().await;
        if failing { Err(()) } else { Ok(()) }
    };
    let quietly = |run: &mut dyn FnMut()| {
        // Without the message of a panic hook: there are thousands.
        let _ = catch_unwind(AssertUnwindSafe(run));
    };
    let got = AtomicU64::new(0);
    let mark = || got.store(1, Ordering::Relaxed);
    match rng.below(6) {
        // Cancelled while it waits.
        0 => {
            let call = breaker.call(|| {
                mark();
                std::future::pending::<Result<(), ()>>()
            });
            let _ = pin!(call).poll(&mut Context::from_waker(Waker::noop()));
        }
        // A panic in the call.
        1 => quietly(&mut || {
            let _ = breaker.call_blocking(|| {
                mark();
                resume_unwind(Box::new("in the call"));
                #[expect(unreachable_code, reason = "names the type")]
                Ok::<(), ()>(())
            });
        }),
        // A panic in the classifier.
        2 => quietly(&mut || {
            let classify = |_: &Result<(), ()>| -> Verdict { resume_unwind(Box::new("in the classifier")) };
            let call = breaker.call_with(classify, || {
                mark();
                async { Ok(()) }
            });
            let _ = pin!(call).poll(&mut Context::from_waker(Waker::noop()));
        }),
        3 => {
            if let Ok(permit) = breaker.try_acquire_owned() {
                mark();
                if failing { drop(permit) } else { permit.ignore() }
            }
        }
        _ => {
            let mut call = pin!(breaker.call(|| {
                mark();
                result()
            }));
            let mut context = Context::from_waker(Waker::noop());
            while call.as_mut().poll(&mut context).is_pending() {}
        }
    }
    got.load(Ordering::Relaxed) == 1
}

/// Random calls on all threads, while time passes and the policy changes; then the books must balance, and
/// with calls that succeed it must close.
fn drop_everything(policy: &Policy, calls: usize) {
    let seed = Seed::from_env("MAINSTAY_SEED");
    let rig = Rig::new(policy.clone());
    let issued = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (rig, issued) = (&rig, &issued);
            let mut rng = Seed::new(seed.value().wrapping_add(thread as u64)).rng();
            scope.spawn(move || {
                for _ in 0..calls / THREADS {
                    issued.fetch_add(one_call(rig, &mut rng).into(), Ordering::Relaxed);
                    if rng.chance(0.2) {
                        rig.hand.advance(Duration::from_micros(rng.below(2_000)));
                    }
                    if rng.chance(0.001) {
                        rig.breaker.configure(policy.clone()).unwrap();
                    }
                }
            });
        }
    });
    let ended: u64 =
        ["success", "slow", "failure", "ignored", "cancelled"].map(|end| rig.count(end)).iter().sum();
    assert_eq!(issued.load(Ordering::Relaxed), ended, "every permit has one outcome");
    assert!(rig.count("cancelled") > 0 && rig.count("failure") > 0);
    assert!(rig.breaker.snapshot().not_permitted > 0, "it was open, too");

    let begun = rig.hand.micros();
    while rig.breaker.state() != State::Closed {
        rig.wait();
        if let Ok(permit) = rig.breaker.try_acquire() {
            permit.success();
        }
        let waited = Duration::from_micros(rig.hand.micros() - begun);
        assert!(waited <= policy.open_max + policy.probes * policy.probe_lease, "stuck: {:?}", rig.breaker);
    }
}

fn quick(window: Window) -> Policy {
    let mut policy = last(10);
    policy.window = window;
    policy.min_calls = 5;
    policy.open_for = Duration::from_millis(1);
    policy.open_max = Duration::from_millis(4);
    policy.probe_lease = Duration::from_millis(3);
    policy
}

#[test]
fn permits_that_are_dropped_anyhow_leak_nothing_with_a_count_window() {
    drop_everything(&quick(Window::Count(10)), rounds(10_000));
}

#[test]
fn permits_that_are_dropped_anyhow_leak_nothing_with_a_time_window() {
    drop_everything(&quick(Window::Time(Duration::from_millis(20))), rounds(10_000));
}
