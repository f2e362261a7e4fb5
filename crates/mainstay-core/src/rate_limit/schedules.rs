//! Random schedules against an exact log: the promises of the arithmetic, seen from outside.

use std::collections::VecDeque;
use std::time::Duration;

use mainstay_testkit::{Rng, Seed};

use super::meter::State;
use super::policy::{Policy, Rule};
use super::quota::Quota;
use crate::time::Moment;

const SCHEDULES: usize = 100_000;
const REQUESTS: usize = 60;

/// What was admitted within the last window, and the most there ever was.
struct Log {
    window: u64,
    admitted: VecDeque<(u64, u32)>,
    sum: u32,
    most: u32,
}

impl Log {
    fn admit(&mut self, time: u64, cost: u32) {
        while let Some((first, cost)) = self.admitted.front()
            && time - first >= self.window
        {
            self.sum -= cost;
            self.admitted.pop_front();
        }
        self.admitted.push_back((time, cost));
        self.sum += cost;
        self.most = self.most.max(self.sum);
    }
}

#[derive(Clone, Copy)]
enum Shape {
    Poisson,
    Bursts,
    Edges,
    Saturated,
}

fn step(rng: &mut Rng, shape: Shape, time: u64, window: u64, limit: u32) -> u64 {
    let pace = window / u64::from(limit);
    match shape {
        // Geometric steps, the discrete kin of exponential ones.
        Shape::Poisson => (0..).take_while(|_| rng.chance(0.75)).count() as u64 * pace / 3,
        Shape::Bursts => *rng.pick(&[0, 0, 0, 1, window / 2, window - 1, window, pace]),
        Shape::Edges if rng.chance(0.8) => *rng.pick(&[0, 1]),
        Shape::Edges => window - time % window - *rng.pick(&[0, 1, 2]).min(&(window - time % window)),
        Shape::Saturated => pace / 8,
    }
}

#[test]
fn no_window_of_any_schedule_holds_more_than_the_limit() {
    let mut rng = Seed::from_env("MAINSTAY_SEED").rng();
    let (mut admitted, mut refused) = (0_usize, 0_usize);
    for _ in 0..SCHEDULES {
        let limit = *rng.pick(&[1, 2, 3, 7, 20]);
        let window = *rng.pick(&[60, 999, 10_000, 1_000_000]);
        let buckets = *rng.pick(&[1, 2, 7, 10, 60]);
        let quota = Quota::new(limit, Duration::from_micros(window)).buckets(buckets);
        let policy = quota.policy().unwrap();
        let Rule::Window(rule) = policy.rule() else { unreachable!() };
        let shape = *rng.pick(&[Shape::Poisson, Shape::Bursts, Shape::Edges, Shape::Saturated]);
        let steps_back = rng.chance(0.3);

        // True time goes on; the clock shows `behind` less.
        let (mut time, mut behind) = (10 * window + rng.below(window), 0);
        let mut state = State::new(&policy, 0);
        let mut log = Log { window, admitted: VecDeque::new(), sum: 0, most: 0 };
        for _ in 0..REQUESTS {
            time += step(&mut rng, shape, time, window, limit);
            if steps_back && rng.chance(0.05) {
                behind += rng.below(3 * window).min(time - behind);
            }
            let now = Moment::from_micros(time - behind);
            let cost = if rng.chance(0.8) { 1 } else { 1 + u32::try_from(rng.below(limit.into())).unwrap() };
            let verdict = state.judge(now, cost, 0);
            assert!(verdict.remaining <= limit);
            assert_eq!(verdict.fits, cost <= verdict.remaining);
            if verdict.fits {
                let after = state.charge(now, cost);
                assert_eq!(after.remaining, verdict.remaining - cost, "remaining counts down");
                log.admit(time, cost);
                admitted += 1;
            } else {
                refused += 1;
                let wait = verdict.retry_after.expect("no cost is above the limit");
                let most = rule.width() * u64::from(buckets + 1) + behind;
                assert!(wait <= Duration::from_micros(most), "{wait:?}");
                if rng.chance(0.2) {
                    let later = state.clone().judge(now + wait, cost, 0);
                    assert!(later.fits, "waiting as told must be enough: {verdict:?}, then {later:?}");
                }
            }
        }
        assert!(log.most <= limit, "{} of {limit} in a window of {window}, {buckets} buckets", log.most);
    }
    // The schedules say something only if they fill their limits and go on.
    assert!(admitted > SCHEDULES * 10 && refused > SCHEDULES * 10, "{admitted} admitted, {refused} refused");
}

#[test]
fn under_saturation_k_of_k_plus_one_parts_of_the_limit_are_usable() {
    for (limit, window, buckets) in
        [(20, 1_000_000, 10), (20, 1_000_000, 60), (7, 999, 10), (1, 60, 60), (100, 5_000, 1)]
    {
        let quota = Quota::new(limit, Duration::from_micros(window)).buckets(buckets);
        let policy = quota.policy().unwrap();
        let mut state = State::new(&policy, 0);
        let end = 200 * window;
        let mut admitted = 0_u64;
        for time in (0..end).step_by(usize::try_from((window / 1_000).max(1)).unwrap()) {
            let now = Moment::from_micros(time);
            while state.judge(now, 1, 0).fits {
                state.charge(now, 1);
                admitted += 1;
            }
        }
        // A window is rounded up to whole buckets, and the bench stops in the middle of one.
        let rounded = window.div_ceil(u64::from(buckets)) * u64::from(buckets);
        let usable = u64::from(limit) * end / rounded * u64::from(buckets) / u64::from(buckets + 1);
        assert!(admitted + u64::from(limit) >= usable, "{admitted} of {usable} with {buckets} buckets");
        assert!(admitted <= u64::from(limit) * 201, "{admitted}");
    }
}

#[test]
fn refunds_and_times_of_any_size_never_panic() {
    let mut rng = Seed::from_env("MAINSTAY_SEED").rng();
    let extreme = [0, 1, 2, 1_000, u64::from(u32::MAX), 1 << 53, u64::MAX - 1, u64::MAX];
    let windows = [Duration::from_micros(60), Duration::from_secs(1), Duration::from_secs(365 * 24 * 3600)];
    for _ in 0..20_000 {
        let limit = *rng.pick(&[1, 2, 1_000, u32::MAX]);
        let quota = Quota::new(limit, *rng.pick(&windows)).buckets(*rng.pick(&[1, 60]));
        let quota = if rng.chance(0.5) { quota.gcra(*rng.pick(&[1, 60, u32::MAX])) } else { quota };
        let Ok(policy) = quota.policy() else { continue };
        judge_at_random(&policy, &mut rng, &extreme);
    }
}

fn judge_at_random(policy: &Policy, rng: &mut Rng, times: &[u64]) {
    let mut state = State::new(policy, 0);
    for _ in 0..6 {
        let now = Moment::from_micros(*rng.pick(times));
        let cost = *rng.pick(&[0, 1, 2, u32::MAX]);
        if state.judge(now, cost, *rng.pick(&[0, 1, 1 << 40])).fits
            && state.judge(now, cost, 0).fits
            && let Some(receipt) = state.charge(now, cost).receipt
        {
            state.refund(Moment::from_micros(*rng.pick(times)), receipt);
        }
        state.full(now);
        state.is_idle(now);
    }
}
