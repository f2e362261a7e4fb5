//! Which server a command goes to, and when it is sent again.

mod cluster;
mod retries;
mod sentinel;
mod url;

use std::net::SocketAddr;
use std::time::Duration;

use mainstay_core::metrics::Metrics;
use mainstay_core::time::Clock;
use mainstay_redis::{Address, Answer, Bell, CallError, Class, Command, Options, Redis};
use mainstay_testkit::eventually_async;

const SOON: Duration = Duration::from_secs(10);

async fn connected(url: &str) -> Redis {
    let redis = open(Options::parse(url).unwrap());
    redis.ready(SOON).await.unwrap();
    redis
}

fn open(options: Options) -> Redis {
    Redis::open(options, &Metrics::new(), Clock::system())
}

fn address(of: SocketAddr) -> Address {
    Address::new(of.ip().to_string(), of.port())
}

fn incr(class: Class, key: &str) -> Command {
    Command::new(class, "INCR").key(key)
}

fn get(key: &str) -> Command {
    Command::new(Class::Read, "GET").key(key)
}

fn set(key: &str, value: &str) -> Command {
    Command::new(Class::Idem, "SET").key(key).arg(value)
}

/// Subscribes as soon as there is a connection for that.
async fn listen(redis: &Redis, channel: &str) -> Bell {
    let mut bell = None;
    eventually_async("a channel can be listened to", SOON, async || {
        bell = redis.listen(channel.into()).await.ok();
        bell.is_some()
    })
    .await;
    bell.unwrap()
}

/// The number under a key; 0 if there is none.
async fn count(redis: &Redis, key: &str) -> Result<i64, CallError> {
    match redis.call(get(key)).await? {
        Answer::Nil => Ok(0),
        answer => answer.int(),
    }
}
