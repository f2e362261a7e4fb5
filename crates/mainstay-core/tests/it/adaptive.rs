//! The adaptive limit before a simulated server, in virtual time: so many workers, one queue, and callers who
//! take every slot there is.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::ops::RangeInclusive;
use std::time::Duration;

use mainstay_core::adaptive::{Adaptive, Policy, Slot};
use mainstay_core::metrics::{Format, Metrics};
use mainstay_core::time::{Clock, Moment, micros};
use mainstay_testkit::{Rng, Seed};

use crate::hand::Hand;

/// Microseconds, as all times here.
const SECOND: u64 = 1_000_000;
const WORK: u64 = 40_000;

/// A field, and what it must not be.
type Wrong = (&'static str, fn(&mut Policy));

fn limit(change: impl FnOnce(&mut Policy), clock: Clock) -> Adaptive {
    let mut policy = Policy::default();
    change(&mut policy);
    Adaptive::new("search", policy, &Metrics::new(), clock).unwrap()
}

struct Server {
    hand: Hand,
    limit: Adaptive,
    rng: Rng,
    now: u64,
    /// What it can work on at once.
    capacity: usize,
    /// Mean time for one call.
    work: u64,
    /// Half of the calls take this share of the mean, the others as much more.
    short: f64,
    /// A call that has to wait for longer is refused.
    patience: u64,
    /// When each call that is worked on will be done.
    busy: BinaryHeap<Reverse<(u64, u64)>>,
    slots: Vec<Option<Slot>>,
    queue: VecDeque<(u64, usize)>,
}

impl Server {
    fn new(capacity: usize, change: impl FnOnce(&mut Policy)) -> Self {
        let hand = Hand::new();
        Self {
            limit: limit(change, hand.clock()),
            hand,
            rng: Seed::from_env("MAINSTAY_SEED").rng(),
            now: 3_600 * SECOND,
            capacity,
            work: WORK,
            short: 0.4,
            patience: u64::MAX,
            busy: BinaryHeap::new(),
            slots: Vec::new(),
            queue: VecDeque::new(),
        }
    }

    /// Goes on for so many seconds. Of the second half of them: the limits that nine tenths of the calls saw,
    /// and how many were served, as a share of what can be.
    fn run(&mut self, seconds: u64) -> (RangeInclusive<u32>, f64) {
        let (half, end) = (self.now + seconds * SECOND / 2, self.now + seconds * SECOND);
        let mut limits = Vec::new();
        while self.now < end {
            while let Ok(slot) = self.limit.try_acquire() {
                self.slots.push(Some(slot));
                self.queue.push_back((self.now, self.slots.len() - 1));
            }
            self.begin();
            let Reverse((done, call)) = self.busy.pop().unwrap();
            self.now = done;
            self.hand.set(Moment::from_micros(self.now));
            self.slots[usize::try_from(call).unwrap()].take().unwrap().success();
            if self.now > half {
                limits.push(self.limit.limit());
            }
        }
        let possible = (seconds * SECOND / 2) as f64 / self.work as f64 * self.capacity as f64;
        limits.sort_unstable();
        (limits[limits.len() / 20]..=limits[limits.len() * 19 / 20], limits.len() as f64 / possible)
    }

    fn begin(&mut self) {
        while self.busy.len() < self.capacity
            && let Some((since, call)) = self.queue.pop_front()
        {
            if self.now - since > self.patience {
                self.slots[call].take().unwrap().overloaded();
                continue;
            }
            let share = if self.rng.chance(0.5) { self.short } else { 2.0 - self.short };
            let takes = Duration::from_micros(self.work).mul_f64(share);
            self.busy.push(Reverse((self.now + micros(takes), call as u64)));
        }
    }
}

/// Within a factor of two of the capacity.
#[track_caller]
fn assert_fits((limits, served): (RangeInclusive<u32>, f64), capacity: u32) {
    assert!(*limits.start() >= capacity / 2 && *limits.end() <= capacity * 2, "{limits:?} of {capacity}");
    assert!(served > 0.9, "{served} of what {capacity} can do, at {limits:?}");
}

#[test]
fn it_comes_to_what_the_server_can_do_from_below_and_from_above() {
    for capacity in [10, 40, 120] {
        for initial in [4, 20, 600] {
            let mut server = Server::new(capacity, |policy| policy.initial = initial);
            server.run(15);
            assert_fits(server.run(25), u32::try_from(capacity).unwrap());
        }
    }
}

#[test]
fn it_follows_a_capacity_that_is_halved_and_doubled() {
    let mut server = Server::new(60, |_| {});
    server.run(20);
    for capacity in [30, 60, 120, 60] {
        server.capacity = capacity;
        // Ten seconds to find out.
        server.run(10);
        assert_fits(server.run(20), u32::try_from(capacity).unwrap());
    }
}

/// What ends first after a cut is what is short.
#[test]
fn a_probe_is_not_fooled_by_the_calls_that_end_first() {
    let mut server = Server::new(100, |_| {});
    server.short = 0.02;
    server.run(20);
    let (limits, served) = server.run(40);
    assert!(*limits.start() >= 80 && served > 0.9, "{limits:?} of 100, {served}");
}

#[test]
fn it_learns_that_the_work_takes_longer_and_that_it_is_no_queue() {
    let mut server = Server::new(40, |_| {});
    server.run(20);
    for work in [3 * WORK, WORK] {
        server.work = work;
        server.run(30);
        assert_fits(server.run(20), 40);
    }
}

#[test]
fn it_gives_way_to_refusals_where_latency_shows_nothing() {
    // Refuses what it cannot begin within a fraction of its work, and so is never slow.
    let mut server = Server::new(40, |policy| policy.initial = 400);
    server.patience = WORK / 10;
    server.run(10);
    let (limits, served) = server.run(20);
    assert!(*limits.end() <= 80, "{limits:?}");
    assert!(served > 0.8, "{served} at {limits:?}");
}

#[test]
fn a_limit_that_is_not_in_use_is_not_raised() {
    let hand = Hand::new();
    let adaptive = limit(|_| {}, hand.clock());
    for _ in 0..10_000 {
        let slot = adaptive.try_acquire().unwrap();
        hand.advance(Duration::from_millis(10));
        slot.success();
    }
    assert!(adaptive.limit() <= 20, "{}", adaptive.limit());
}

#[test]
fn calls_that_failed_together_shrink_it_once() {
    let hand = Hand::new();
    let adaptive = limit(|policy| policy.initial = 100, hand.clock());
    for expected in [90, 81, 72] {
        let slots: Vec<_> = std::iter::from_fn(|| adaptive.try_acquire().ok()).collect();
        hand.advance(Duration::from_secs(1));
        slots.into_iter().for_each(Slot::overloaded);
        assert_eq!(adaptive.limit(), expected);
    }
}

#[test]
fn a_slot_that_is_dropped_frees_its_place_and_says_nothing() {
    let hand = Hand::new();
    let adaptive = limit(|policy| policy.initial = 5, hand.clock());
    for round in 0..1_000 {
        let slots: Vec<_> = std::iter::from_fn(|| adaptive.try_acquire().ok()).collect();
        assert_eq!((slots.len(), adaptive.in_flight()), (5, 5));
        hand.advance(Duration::from_secs(round % 50));
    }
    assert_eq!((adaptive.limit(), adaptive.in_flight()), (5, 0));
}

#[test]
fn it_stays_within_its_bounds_and_takes_no_slot_away() {
    let hand = Hand::new();
    let adaptive = limit(|_| {}, hand.clock());
    let slots: Vec<_> = std::iter::from_fn(|| adaptive.try_acquire().ok()).collect();
    let mut policy = Policy::default();
    (policy.min, policy.initial, policy.max) = (3, 3, 8);
    adaptive.configure(policy.clone()).unwrap();
    assert_eq!((adaptive.limit(), adaptive.in_flight()), (8, 20));
    let refused = adaptive.try_acquire().unwrap_err();
    assert_eq!(refused.to_string(), "adaptive limit search of 8 is reached");
    drop(slots);
    for _ in 0..50 {
        let slot = adaptive.try_acquire().unwrap();
        hand.advance(Duration::from_secs(1));
        slot.overloaded();
    }
    assert_eq!(adaptive.limit(), 3);
    let wrong: [Wrong; 7] = [
        ("max", |policy| policy.max = 0),
        ("min", |policy| policy.min = 0),
        ("initial", |policy| policy.initial = 9),
        ("tolerance", |policy| policy.tolerance = 0.9),
        ("smoothing", |policy| policy.smoothing = f64::NAN),
        ("backoff", |policy| policy.backoff = 1.0),
        ("probe_every", |policy| policy.probe_every = Duration::ZERO),
    ];
    for (field, change) in wrong {
        let mut policy = policy.clone();
        change(&mut policy);
        assert_eq!(adaptive.configure(policy).unwrap_err().field, field);
    }
}

#[test]
fn what_became_of_calls_is_counted() {
    let metrics = Metrics::new();
    let adaptive = Adaptive::new("search", Policy::default(), &metrics, Clock::system()).unwrap();
    let mut slots: Vec<_> = std::iter::from_fn(|| adaptive.try_acquire().ok()).collect();
    slots.pop().unwrap().overloaded();
    let text = metrics.render(Format::Prometheus);
    for line in [
        "adaptive_limit{name=\"search\"} 18\n",
        "adaptive_in_flight{name=\"search\"} 19\n",
        "adaptive_refused_total{name=\"search\"} 1\n",
        "adaptive_overloaded_total{name=\"search\"} 1\n",
    ] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
}

#[test]
fn a_call_allocates_nothing() {
    let adaptive = limit(|_| {}, Clock::system());
    let call = || adaptive.try_acquire().unwrap().success();
    call();
    let allocations = allocation_counter::measure(|| (0..100).for_each(|_| call()));
    assert_eq!(allocations.count_total, 0);
}

#[test]
fn bounds_that_change_at_any_moment_do_not_hold_it_at_the_lowest() {
    for before in 0..300 {
        let hand = Hand::new();
        let limit = limit(|policy| (policy.min, policy.initial, policy.max) = (2, 2, 2), hand.clock());
        let mut slots = VecDeque::new();
        // All there are, with the same latency however many.
        let mut calls = |calls: usize| {
            for _ in 0..calls {
                slots.extend(std::iter::from_fn(|| limit.try_acquire().ok()));
                hand.advance(Duration::from_millis(200) / u32::try_from(slots.len()).unwrap());
                slots.pop_front().unwrap().success();
            }
        };
        calls(before);
        limit.configure(Policy::default()).unwrap();
        calls(1_000);
        assert!(limit.limit() > 4, "changed after {before} calls");
    }
}
