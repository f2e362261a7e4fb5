//! A server that is asked for three times what it can do, in virtual time: requests come at random, wait in
//! one queue for one of eight workers, and are of use to their callers for a second.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use mainstay_core::metrics::Metrics;
use mainstay_core::shed::{Policy, Priority, Shedder};
use mainstay_core::time::Moment;
use mainstay_testkit::Rng;
use mainstay_testkit::Seed;

use crate::hand::Hand;

/// Microseconds, as all times here.
const SECOND: u64 = 1_000_000;
const WORKERS: usize = 8;
/// For each request: 800 a second are the capacity.
const WORK: u64 = 10_000;
/// To refuse one.
const REFUSAL: u64 = 100;
const LENGTH: u64 = 20 * SECOND;

struct Outcome {
    /// Answers in time, per second, in the last three quarters.
    goodput: f64,
    /// Of the requests that were served, from their arrival, in microseconds.
    p99: u64,
    /// Shares that were shed: of low and of normal priority.
    shed: [f64; 2],
}

/// At `load` times the capacity.
fn serve(load: f64, shedding: bool) -> Outcome {
    let hand = Hand::new();
    let shedder = Shedder::new("http", Policy::default(), &Metrics::new(), hand.clock()).unwrap();
    let mut rng = Seed::from_env("MAINSTAY_SEED").rng();
    let mean = WORK as f64 / WORKERS as f64 / load;
    let mut workers: BinaryHeap<_> = [Reverse(0); WORKERS].into();
    let (mut arrival, mut answered, mut latencies) = (0, 0_u32, Vec::new());
    let (mut asked, mut shed) = ([0_u32; 2], [0_u32; 2]);
    while arrival < LENGTH {
        arrival += exponential(&mut rng, mean);
        // First come, first served: who arrives next takes the worker that is free first.
        let Reverse(free) = workers.pop().unwrap();
        let begun = free.max(arrival);
        hand.set(Moment::from_micros(begun + SECOND));
        let kind = usize::from(rng.chance(0.8));
        let priority = [Priority::Low, Priority::Normal][kind];
        let delay = Duration::from_micros(begun - arrival);
        asked[kind] += 1;
        if shedding && shedder.admit(priority, delay).is_err() {
            shed[kind] += 1;
            workers.push(Reverse(begun + REFUSAL));
            continue;
        }
        let done = begun + exponential(&mut rng, WORK as f64);
        workers.push(Reverse(done));
        if arrival > LENGTH / 4 && done < LENGTH {
            latencies.push(done - arrival);
            answered += u32::from(done - arrival < SECOND);
        }
    }
    latencies.sort_unstable();
    Outcome {
        goodput: f64::from(answered) / (LENGTH as f64 * 0.75 / SECOND as f64),
        p99: latencies[latencies.len() * 99 / 100],
        shed: [0, 1].map(|kind| f64::from(shed[kind]) / f64::from(asked[kind])),
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "some milliseconds")]
fn exponential(rng: &mut Rng, mean: f64) -> u64 {
    let share = (rng.next_u64() >> 11) as f64 / (1_u64 << 53) as f64;
    (-mean * (1.0 - share).ln()) as u64
}

#[test]
fn at_three_times_the_capacity_goodput_stays_and_answers_are_fast() {
    let peak = serve(0.9, true);
    let over = serve(3.0, true);
    assert!(over.goodput >= 0.9 * peak.goodput, "{} of {} a second", over.goodput, peak.goodput);
    assert!(over.p99 < SECOND / 5, "p99 of {} µs", over.p99);
    let [low, normal] = over.shed;
    assert!(low > normal && normal > 0.4, "{low} of low, {normal} of normal priority");
}

#[test]
fn without_shedding_the_server_collapses() {
    let (peak, over) = (serve(0.9, false), serve(3.0, false));
    assert!(over.goodput < 0.1 * peak.goodput, "{} of {} a second", over.goodput, peak.goodput);
    assert!(over.p99 > 5 * SECOND);
}

#[test]
fn a_server_that_can_keep_up_sheds_next_to_nothing() {
    let outcome = serve(0.7, true);
    assert!(outcome.shed[1] < 0.01, "{:?}", outcome.shed);
}
