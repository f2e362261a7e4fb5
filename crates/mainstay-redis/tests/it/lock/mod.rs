//! Locks on real servers: the store's contract (`contract`), bugs that it convicts (`mutants`), answers that are lost
//! (`replies`) or questions that are late (`late`), futures that are dropped (`dropping`), who waits (`waiting`), calendars and state that change
//! (`servers`), what is shown (`listing`), processes that stand still (`frozen`), a resource that refuses (`fenced`), and all of it at once
//! (`chaos`).

mod chaos;
mod contract;
mod dropping;
mod fenced;
mod frozen;
mod late;
mod listing;
mod mutants;
mod replies;
mod servers;
mod waiting;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use mainstay_core::key::Key;
use mainstay_core::lock::{Acquired, Claim, Fence, Locks, Options, Store, Token};
use mainstay_core::metrics::Metrics;
use mainstay_core::store::StoreError;
use mainstay_core::time::Clock;
use mainstay_redis::lock::RedisLocks;
use mainstay_redis::{Address, Deployment, Redis};

const SECOND: Duration = Duration::from_secs(1);
const NAMESPACE: &str = "test";

const fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn name(key: &str) -> Key<'_> {
    Key::new(key).expect("the tests' keys are valid")
}

fn claim(attempt: Token, ttl: Duration) -> Claim {
    Claim { attempt, permits: 1, ttl, floor: Fence::default() }
}

/// A connection that is up.
async fn connect(address: SocketAddr) -> Redis {
    open(standalone(address)).await
}

fn standalone(address: SocketAddr) -> mainstay_redis::Options {
    let address = Address::new(address.ip().to_string(), address.port());
    mainstay_redis::Options::new(Deployment::Standalone(address))
}

async fn by_url(url: &str) -> Redis {
    open(mainstay_redis::Options::parse(url).expect("the testkit's addresses can be read")).await
}

async fn open(options: mainstay_redis::Options) -> Redis {
    let redis = Redis::open(options, &Metrics::new(), Clock::system());
    redis.ready(20 * SECOND).await.expect("the servers are there");
    drop(until_answered(|| async { Ok(redis.listen(b"up".into()).await?) }).await);
    redis
}

fn store(redis: &Redis) -> RedisLocks {
    RedisLocks::new(redis.clone(), NAMESPACE, "test")
}

/// What one process has.
fn locks(redis: &Redis, options: Options) -> Locks {
    Locks::new(Arc::new(store(redis)), options, &Metrics::new(), Clock::system())
}

async fn granted(store: &RedisLocks, key: &str, claim: Claim) -> Fence {
    match store.acquire(name(key), claim).await.expect("the store answers") {
        Acquired::Granted { fence } => fence,
        refused => panic!("refused: {refused:?}"),
    }
}

/// Asks until the answer comes: what a caller does whose question may be asked twice.
async fn until_answered<T, F: Future<Output = Result<T, StoreError>>>(mut ask: impl FnMut() -> F) -> T {
    let asking = async {
        loop {
            match ask().await {
                Ok(answer) => return answer,
                Err(StoreError::Rejected { reason }) => panic!("refused: {reason}"),
                Err(_) => tokio::time::sleep(millis(5)).await,
            }
        }
    };
    tokio::time::timeout(20 * SECOND, asking).await.expect("the server is there")
}
