//! What is shown of a server that others use, too.

use mainstay_core::lock::{Options, Store, Token};
use mainstay_redis::{Address, Deployment};
use mainstay_testkit::redis::{Proxy, RedisServer};

use super::{SECOND, claim, connect, granted, locks, millis, store};

#[tokio::test]
async fn keys_that_are_no_locks_hide_none() {
    let server = RedisServer::start().await;
    let store = store(&connect(server.address()).await);
    granted(&store, "k", claim(Token::random(), 20 * SECOND)).await;
    let hostile = "redis.call('SET', 'ms:{test:lock:\\255}:l', 'x') \
                   redis.call('HSET', 'ms:{test:lock:hash}:l', 'a', 'b') \
                   redis.call('SET', 'ms:{test:lock:%ff}:l', 'x') \
                   redis.call('SET', 'ms:{test:lock:}:l', '') \
                   redis.call('SET', 'ms:{test:lock:line}:l', \
                       'a 1 99999999999 9000000000000000 9000000000000000 1 x\\n')";
    server.command(&["EVAL", hostile, "0"]).await;
    let shown = store.list(100).await.unwrap();
    assert_eq!(shown.iter().map(|lock| &*lock.key).collect::<Vec<_>>(), ["k"], "{shown:?}");
}

#[tokio::test]
async fn looking_through_a_large_database_from_afar_ends_before_whoever_looks_gives_up() {
    let server = RedisServer::start().await;
    server.command(&["EVAL", "for i = 1, 30000 do redis.call('SET', 'other:' .. i, '') end", "0"]).await;
    let proxy = Proxy::start(server.address()).await;
    let locks = locks(&connect(proxy.address()).await, Options::default());
    proxy.delay(millis(20));
    let _lease = locks.lock("k").lease().await.unwrap();
    locks.list(100).await.unwrap();
}

/// As the documentation of `mainstay_redis::Options` has them.
#[tokio::test]
async fn the_documented_rights_suffice_to_lock_and_to_look() {
    const RIGHTS: &str = "on >secret ~ms:* &ms:* +@read +@write +@scripting +publish +subscribe +unsubscribe \
                          +pubsub|numsub +time +select +info +client|tracking";
    let server = RedisServer::builder().acl("app", RIGHTS).start().await;
    let address = Address::new(server.address().ip().to_string(), server.address().port());
    let mut options = mainstay_redis::Options::new(Deployment::Standalone(address));
    options.username = Some("app".into());
    options.password = Some(String::from("secret").into());
    let redis =
        mainstay_redis::Redis::open(options, &mainstay_core::metrics::Metrics::new(), Default::default());
    redis.ready(20 * SECOND).await.unwrap();
    let locks = locks(&redis, Options::default());
    let guard = locks.lock("k").acquire().await.unwrap();
    assert_eq!(locks.list(10).await.unwrap().len(), 1);
    assert_eq!(locks.holders("k").await.unwrap().len(), 1);
    guard.release().await.unwrap();
}
