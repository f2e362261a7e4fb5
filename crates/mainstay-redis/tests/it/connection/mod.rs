//! One server: the links to it, the guard before them, what is subscribed, what the audit finds.
#![expect(clippy::unwrap_used, reason = "helpers of tests, which may")]

mod audit;
mod crossing;
mod guard;
mod hostile;
mod link;
mod subscriptions;
#[cfg(feature = "tls")]
mod tls;

use std::net::SocketAddr;
use std::time::Duration;

use mainstay_core::metrics::Metrics;
use mainstay_core::time::Clock;
use mainstay_redis::{Address, Answer, CallError, Class, Command, Deployment, Options, Redis, ServerStatus};
use mainstay_testkit::eventually_async;

const SOON: Duration = Duration::from_secs(10);

fn options(server: SocketAddr) -> Options {
    Options::new(Deployment::Standalone(Address::new(server.ip().to_string(), server.port())))
}

fn open(options: Options) -> Redis {
    Redis::open(options, &Metrics::new(), Clock::system())
}

async fn connected(options: Options) -> Redis {
    let redis = open(options);
    redis.ready(SOON).await.unwrap();
    redis
}

fn server(redis: &Redis) -> ServerStatus {
    redis.status().servers.remove(0)
}

fn incr(key: &str) -> Command {
    Command::new(Class::Once, "INCR").key(key)
}

fn get(key: &str) -> Command {
    Command::new(Class::Read, "GET").key(key)
}

fn set(key: &str, value: &str) -> Command {
    Command::new(Class::Idem, "SET").key(key).arg(value)
}

async fn count(redis: &Redis, key: &str) -> Result<i64, CallError> {
    match redis.call(get(key)).await? {
        Answer::Nil => Ok(0),
        answer => answer.int(),
    }
}

/// Until commands are answered again.
async fn answers_within(redis: &Redis, deadline: Duration) {
    let answers = async || redis.call(get("ms:none")).await == Ok(Answer::Nil);
    eventually_async("commands are answered", deadline, answers).await;
}

async fn refused(redis: &Redis, words: &str) {
    let told = async || server(redis).last_error.is_some_and(|error| error.contains(words));
    eventually_async("the refusal is told", SOON, told).await;
}
