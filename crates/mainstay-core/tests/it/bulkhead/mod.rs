//! Bulkheads: bounds, order, and what is left when callers go away.

mod cancels;
mod model;
mod slots;

use std::time::Duration;

use mainstay_core::bulkhead::{Bulkhead, Policy};
use mainstay_core::metrics::Metrics;
use mainstay_core::time::Clock;

fn policy(max_concurrent: u32, max_waiting: u32, max_wait: Duration) -> Policy {
    let mut policy = Policy::default();
    (policy.max_concurrent, policy.max_waiting, policy.max_wait) = (max_concurrent, max_waiting, max_wait);
    policy
}

fn bulkhead(policy: Policy) -> Bulkhead {
    Bulkhead::new("test", policy, &Metrics::new(), Clock::system()).unwrap()
}
