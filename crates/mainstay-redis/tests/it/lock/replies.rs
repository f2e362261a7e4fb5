//! Answers that are lost after the server has done what it was asked.

use mainstay_core::lock::{Acquired, Error, Holder, Options, Release, Renewed, Store, Token};
use mainstay_core::store::StoreError;
use mainstay_redis::Redis;
use mainstay_redis::lock::RedisLocks;
use mainstay_testkit::redis::{Proxy, RedisServer};
use mainstay_testkit::{Seed, eventually_async};

use super::{SECOND, claim, connect, granted, locks, millis, name, open, standalone, store, until_answered};

/// The server knows the scripts: an answer that is lost is not that it does not.
async fn with_scripts(store: RedisLocks) -> RedisLocks {
    let attempt = Token::random();
    let fence = granted(&store, "scripts", claim(attempt, SECOND)).await;
    store.renew(name("scripts"), attempt, fence, SECOND).await.unwrap();
    store.release(name("scripts"), attempt, SECOND).await.unwrap();
    store
}

/// A connection that sends nothing twice by itself.
async fn once(proxy: &Proxy) -> Redis {
    let mut options = standalone(proxy.address());
    options.max_retries = 0;
    open(options).await
}

/// Asks with the answer cut off, until it was done and its answer lost. What else can happen: the connection's own
/// sign of life was cut, behind which the question stood.
async fn unanswered<T>(
    proxy: &Proxy,
    redis: &Redis,
    mut ask: impl AsyncFnMut() -> Result<T, StoreError>,
    done: impl AsyncFn() -> bool,
) {
    for _ in 0..100 {
        redis.ready(5 * SECOND).await.unwrap();
        proxy.cut_after_request(1);
        if matches!(ask().await, Err(StoreError::Unknown { .. })) && done().await {
            return;
        }
        proxy.pass();
    }
    panic!("the answer was never lost");
}

/// A server, a store that is near to it, and one whose answers can be cut.
struct Line {
    _server: RedisServer,
    proxy: Proxy,
    near: RedisLocks,
    redis: Redis,
    far: RedisLocks,
}

impl Line {
    async fn new() -> Self {
        let server = RedisServer::start().await;
        let proxy = Proxy::start(server.address()).await;
        let near = with_scripts(store(&connect(server.address()).await)).await;
        let redis = once(&proxy).await;
        let far = store(&redis);
        Self { _server: server, proxy, near, redis, far }
    }

    async fn holders(&self, key: &str) -> Vec<Holder> {
        self.near.holders(name(key)).await.unwrap()
    }
}

#[tokio::test]
async fn an_acquire_without_an_answer_is_one_grant_with_one_fence_however_often_it_is_asked() {
    let line = Line::new().await;
    for round in 0..5 {
        let key = &format!("k{round}");
        let claim = claim(Token::random(), 20 * SECOND);
        let ask = async || line.far.acquire(name(key), claim).await;
        unanswered(&line.proxy, &line.redis, ask, async || !line.holders(key).await.is_empty()).await;
        let fence = line.holders(key).await[0].fence;
        let again = until_answered(|| async { line.far.acquire(name(key), claim).await }).await;
        assert_eq!(again, Acquired::Granted { fence });
        assert_eq!(line.holders(key).await.len(), 1);
    }
}

#[tokio::test]
async fn a_renewal_without_an_answer_has_renewed_and_can_be_asked_again() {
    let line = Line::new().await;
    let attempt = Token::random();
    let fence = granted(&line.near, "k", claim(attempt, 10 * SECOND)).await;
    let ask = async || line.far.renew(name("k"), attempt, fence, 20 * SECOND).await;
    let renewed = async || line.holders("k").await[0].ends_in > 11 * SECOND;
    unanswered(&line.proxy, &line.redis, ask, renewed).await;
    let again =
        until_answered(|| async { line.far.renew(name("k"), attempt, fence, 30 * SECOND).await }).await;
    assert_eq!(again, Renewed::Renewed);
}

#[tokio::test]
async fn a_release_without_an_answer_has_released_and_is_not_said_to_have_found_nothing() {
    let line = Line::new().await;
    for round in 0..5 {
        let (key, mut attempt) = (&format!("k{round}"), Token::random());
        let ask = async || {
            // An attempt that was released does not come back.
            for holder in line.holders(key).await {
                assert_eq!(holder.id, attempt.short_id());
                line.near.release(name(key), attempt, SECOND).await.unwrap();
            }
            attempt = Token::random();
            granted(&line.near, key, claim(attempt, 20 * SECOND)).await;
            let answer = line.far.release(name(key), attempt, 20 * SECOND).await;
            assert_ne!(answer, Ok(Release::NotHeld), "sent twice");
            answer
        };
        unanswered(&line.proxy, &line.redis, ask, async || line.holders(key).await.is_empty()).await;
        let late = line.near.acquire(name(key), claim(attempt, SECOND)).await;
        assert_eq!(late, Ok(Acquired::Cancelled));
    }
}

/// Any verb, any moment: afterwards nothing is held, at the latest when the ttl is over.
#[tokio::test]
async fn whatever_answers_are_lost_no_lock_is_left() {
    let mut rng = Seed::from_env("MAINSTAY_SEED").rng();
    let server = RedisServer::start().await;
    let proxy = Proxy::start(server.address()).await;
    let near = with_scripts(store(&connect(server.address()).await)).await;
    let far = once(&proxy).await;
    let mut options = Options::default();
    options.ttl = SECOND;
    options.op_timeout = millis(100);
    let (mut seen, mut keys) = ([0_u64; 2], Vec::new());
    let locks = locks(&far, options);
    for round in 0..40 {
        let key = format!("k{round}");
        far.ready(5 * SECOND).await.unwrap();
        proxy.cut_after_request(1 + usize::try_from(rng.below(4)).unwrap());
        match locks.lock(&key).wait(millis(rng.below(400))).acquire().await {
            Ok(guard) if rng.chance(0.5) => {
                seen[0] += 1;
                seen[1] += u64::from(guard.release().await.is_err());
            }
            Ok(guard) => drop(guard),
            Err(Error::Unavailable(_) | Error::Unknown(_)) => seen[1] += 1,
            Err(other) => panic!("{other:?}"),
        }
        keys.push(key);
    }
    proxy.pass();
    assert!(seen.iter().all(|seen| *seen > 0), "{seen:?}: nothing was lost, or nothing held");
    eventually_async("nothing is held", 3 * SECOND, async || near.list(100).await.unwrap().is_empty()).await;
    locks.stop(SECOND).await.unwrap();
    for key in keys {
        granted(&near, &key, claim(Token::random(), SECOND)).await;
    }
}
