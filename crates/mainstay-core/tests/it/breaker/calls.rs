//! What a caller sees.

use std::time::Duration;

use mainstay_core::breaker::{Policy, State};

use super::{Rig, last};

#[test]
fn ten_thousand_successes_do_not_put_off_the_opening() {
    for (window, rate, failures) in [(100, 0.5, 50), (100, 0.01, 1), (10, 1.0, 10), (1_000, 0.25, 250)] {
        let mut policy = last(window);
        policy.failure_rate = rate;
        let rig = Rig::new(policy);
        rig.calls(10_000, true);
        rig.calls(failures - 1, false);
        assert_eq!(rig.breaker.state(), State::Closed);
        rig.calls(1, false);
        assert_eq!(rig.breaker.state(), State::Open, "after {failures} of {window}");
        assert!(rig.breaker.try_acquire().is_err());
    }
}

#[test]
fn it_opens_probes_and_closes() {
    let rig = Rig::new(Policy::consecutive(3, Duration::from_secs(30)));
    rig.calls(2, false);
    rig.calls(1, true);
    rig.calls(2, false);
    assert_eq!(rig.breaker.state(), State::Closed, "a success ends the row");
    rig.calls(1, false);
    assert_eq!(rig.breaker.state(), State::Open);

    let refused = rig.breaker.try_acquire().unwrap_err();
    assert_eq!((&*refused.name, refused.state), ("it", State::Open));
    assert!((24..=36).contains(&refused.retry_after.as_secs()), "{:?}", refused.retry_after);
    rig.hand.advance(refused.retry_after - Duration::from_micros(1));
    assert!(rig.breaker.try_acquire().is_err());
    rig.hand.advance(Duration::from_micros(1));

    let probe = rig.breaker.try_acquire().unwrap();
    assert_eq!(rig.breaker.state(), State::HalfOpen);
    assert!(rig.breaker.try_acquire().is_err(), "one probe at a time");
    probe.success();
    assert_eq!(rig.breaker.state(), State::Closed);
    rig.calls(2, false);
    assert_eq!(rig.breaker.state(), State::Closed, "what was before is forgotten");
}
