//! Promises of the HTTP client, against plain sockets.
#![allow(
    clippy::unwrap_used,
    reason = "clippy's own exception for tests does not reach their helper functions"
)]

mod answers;
mod endpoints;
mod reach;
mod server;

use std::time::Duration;

use mainstay_client::{HttpClient, Options, Reach};
use mainstay_core::breaker::{self, Breakers};
use mainstay_core::metrics::Metrics;
use mainstay_core::pipeline::{Pipeline, Policy};
use mainstay_core::time::Clock;

const fn millis(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// Three attempts without a pause.
fn policy() -> Policy {
    let mut policy = Policy::default();
    policy.retry.first = Duration::ZERO;
    policy.retry.max = Duration::ZERO;
    policy
}

fn near() -> Options {
    let mut options = Options::default();
    options.reach = Reach::Private;
    options
}

/// A pipeline that lets three failures in a row pass, and where its endpoints' breakers will be.
fn guarded(policy: Policy) -> (Breakers, Pipeline) {
    let (metrics, clock) = (Metrics::new(), Clock::system());
    let breakers = Breakers::new(&metrics, clock.clone());
    let guard = breaker::Policy::consecutive(3, Duration::from_secs(60));
    let breaker = breakers.declare("peer", guard).unwrap();
    let pipeline = Pipeline::new("peer", policy, breaker, &metrics, clock).unwrap();
    (breakers, pipeline)
}

fn try_over(
    endpoints: &[String],
    pipeline: &Pipeline,
    breakers: &Breakers,
    options: Options,
) -> Result<HttpClient, mainstay_client::Error> {
    let endpoints: Vec<_> = endpoints.iter().map(|url| url.parse().unwrap()).collect();
    HttpClient::new(pipeline.clone(), &endpoints, options, breakers, &Metrics::new())
}

fn over(endpoints: &[String], pipeline: &Pipeline, breakers: &Breakers) -> HttpClient {
    try_over(endpoints, pipeline, breakers, near()).unwrap()
}

fn try_client(
    endpoints: &[String],
    policy: Policy,
    options: Options,
) -> Result<HttpClient, mainstay_client::Error> {
    let (breakers, pipeline) = guarded(policy);
    try_over(endpoints, &pipeline, &breakers, options)
}

fn client(endpoint: &str) -> HttpClient {
    try_client(&[endpoint.to_owned()], policy(), near()).unwrap()
}
