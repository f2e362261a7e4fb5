//! What the limiter counts.

use std::sync::{OnceLock, Weak};

use super::decision::Refusal;
use super::memory::Memory;
use super::policy::Policy;
use crate::metrics::{Counter, Metrics, Unit};

const DECISIONS: &str = "rate_limit_decisions_total";
const DEGRADED: &str = "rate_limit_degraded_total";
const REMEMBERED: &str = "rate_limit_deny_cache_hits_total";
const KEYS: &str = "rate_limit_keys";
const SHARED: &str = "rate_limit_shared_states";
const OVERFLOW: &str = "rate_limit_overflow_total";

/// Places for counters that are kept. A policy that finds none looks its counters up by name.
const PLACES: usize = 256;

/// How many places a policy tries.
const TRIES: usize = 8;

#[derive(Debug)]
pub(super) struct Instruments {
    metrics: Metrics,
    /// A hash table that only grows: a place once taken stays, and reading it is one load.
    kept: Box<[OnceLock<(Policy, Counters)>]>,
}

#[derive(Debug)]
struct Counters {
    allowed: Counter,
    denied: Counter,
    never: Counter,
    degraded: Counter,
    remembered: Counter,
}

impl Instruments {
    pub(super) fn new(metrics: &Metrics) -> Self {
        metrics.describe_counter(DECISIONS, Unit::None, "Rate limit decisions, by policy and result.");
        metrics.describe_counter(DEGRADED, Unit::None, "Rate limit decisions made without the store.");
        metrics.describe_counter(
            REMEMBERED,
            Unit::None,
            "Rate limit refusals for which a far store was not asked again.",
        );
        metrics.describe_gauge(KEYS, Unit::None, "Keys with a rate limit state in this process.");
        metrics.describe_gauge(SHARED, Unit::None, "Rate limit states shared by keys without one.");
        metrics.describe_counter(OVERFLOW, Unit::None, "Rate limit decisions over a shared state.");
        Self { metrics: metrics.clone(), kept: (0..PLACES).map(|_| OnceLock::new()).collect() }
    }

    /// Shows what `memory` holds for as long as it lives; `place` is `store` or `local`.
    pub(super) fn watch(&self, place: &'static str, memory: Weak<Memory>) {
        self.metrics.collect(move |sink| {
            if let Some(memory) = memory.upgrade() {
                let (usage, labels) = (memory.usage(), [("place", place)]);
                sink.gauge(KEYS, &labels, usage.keys as f64);
                sink.gauge(SHARED, &labels, usage.shared as f64);
                sink.counter(OVERFLOW, &labels, usage.overflows as f64);
            }
        });
    }

    #[inline]
    pub(super) fn count(&self, policy: &Policy, refusal: Option<Refusal>, degraded: bool) {
        self.with(policy, |counters| counters.count(refusal, degraded));
    }

    /// A refusal that was remembered.
    pub(super) fn count_remembered(&self, policy: &Policy) {
        self.with(policy, |counters| {
            counters.denied.increment(1);
            counters.remembered.increment(1);
        });
    }

    #[inline]
    fn with(&self, policy: &Policy, count: impl FnOnce(&Counters)) {
        #[expect(clippy::cast_possible_truncation, reason = "only its low bits are used")]
        let first = policy.digest as usize;
        for place in (first..).take(TRIES) {
            let place = &self.kept[place % PLACES];
            let (kept, counters) = place.get_or_init(|| (*policy, Counters::new(&self.metrics, policy)));
            if kept == policy {
                return count(counters);
            }
        }
        count(&Counters::new(&self.metrics, policy));
    }
}

impl Counters {
    fn new(metrics: &Metrics, policy: &Policy) -> Self {
        let name = policy.name();
        let result = |result| metrics.counter(DECISIONS).with(&[("policy", &name), ("result", result)]);
        Self {
            allowed: result("allowed"),
            denied: result("denied"),
            never: result("never"),
            degraded: metrics.counter(DEGRADED).with(&[("policy", &name)]),
            remembered: metrics.counter(REMEMBERED).with(&[("policy", &name)]),
        }
    }

    #[inline]
    fn count(&self, refusal: Option<Refusal>, degraded: bool) {
        match refusal {
            None => self.allowed.increment(1),
            Some(Refusal::Limit | Refusal::Outage) => self.denied.increment(1),
            Some(Refusal::Never) => self.never.increment(1),
            // Said by the limit that refused.
            Some(Refusal::Other) => {}
        }
        if degraded {
            self.degraded.increment(1);
        }
    }
}
