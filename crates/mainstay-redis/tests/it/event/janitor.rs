//! What is removed, and what is not.

use std::time::Duration;

use mainstay_core::event::store::{Fetch, Opening, Store};
use mainstay_core::event::{Pattern, Queue};
use mainstay_redis::event::{Options, RedisEvents};
use mainstay_testkit::eventually_async;
use mainstay_testkit::redis::RedisServer;

use super::{NAMESPACE, PATIENCE, connect, done, fetch, handled, key, numbers, opened, publish, want};

/// A store that retains nothing that everybody has finished.
async fn forgetful(server: &RedisServer) -> RedisEvents {
    let mut options = Options::default();
    options.retention = Duration::ZERO;
    RedisEvents::new(connect(&server.url()).await, NAMESPACE, options)
}

async fn length(server: &RedisServer) -> usize {
    server.command(&["XLEN", &key("s")]).await.parse().unwrap()
}

/// Tidies until it is this process's turn, which another round may have taken.
async fn tidied(store: &RedisEvents) {
    tokio::time::sleep(Duration::from_millis(5)).await;
    store.tidy().await.unwrap();
}

#[tokio::test]
async fn what_the_slowest_has_not_finished_stays_and_the_rest_goes() {
    let server = RedisServer::start().await;
    let store = forgetful(&server).await;
    let (fast, slow) = (opened(&store, "fast").await, opened(&store, "slow").await);
    publish(&store, 0..20).await;
    assert_eq!(handled(&store, &fast).await.len(), 20);
    let first = store.fetch(&slow, Fetch { credits: 5, ..want(Duration::ZERO) }).await.unwrap();
    tidied(&store).await;
    assert_eq!(length(&server).await, 20, "the slow one has finished none");
    done(&store, &slow, &first[..3]).await;
    eventually_async("three are removed", PATIENCE, async || {
        tidied(&store).await;
        length(&server).await == 17
    })
    .await;
    done(&store, &slow, &first[3..]).await;
    assert_eq!(handled(&store, &slow).await, (5..20).collect::<Vec<_>>());
    eventually_async("all are removed", PATIENCE, async || {
        tidied(&store).await;
        length(&server).await == 0
    })
    .await;
    publish(&store, [20]).await;
    assert_eq!(handled(&store, &slow).await, [20]);
}

#[tokio::test]
async fn a_consumer_goes_only_when_it_holds_nothing_and_an_own_queue_when_nobody_fetches() {
    let server = RedisServer::start().await;
    let store = forgetful(&server).await;
    let queue = opened(&store, "a").await;
    let pattern = Pattern::new("user.*").unwrap();
    let own = Queue::own("a".into(), pattern, "one".into());
    store.open(&own, Opening::NOW).await.unwrap();
    publish(&store, [1]).await;
    let taken = fetch(&store, &queue).await;
    let consumers = async || server.command(&["XINFO", "CONSUMERS", &key("s"), &queue.to_string()]).await;
    // A long time has passed: of the consumer by its idle time, of the queue by what it has written down.
    let id = server.command(&["XRANGE", &key("s"), "-", "+"]).await.lines().next().unwrap().to_owned();
    let name = queue.to_string();
    let idle = ["XCLAIM", &key("s"), &name, "test", "0", &id, "IDLE", "7200000", "JUSTID"];
    server.command(&idle).await;
    server.command(&["HSET", &key(&format!("m:{own}")), "fetched", "1"]).await;
    tidied(&store).await;
    assert!(consumers().await.contains("test"), "it holds an event");
    assert_eq!(store.stats().await.unwrap().len(), 1, "nobody has fetched from the own queue for a day");
    assert_eq!(numbers(&taken), [1]);
    done(&store, &queue, &taken).await;
}

#[tokio::test]
async fn the_own_queue_of_who_was_killed_does_not_hold_publishers_up_for_long() {
    let server = RedisServer::start().await;
    let mut options = Options::default();
    options.max_queue = 10;
    let store = RedisEvents::new(connect(&server.url()).await, NAMESPACE, options);
    let pattern = Pattern::new("user.*").unwrap();
    let own = ["dead", "alive"].map(|name| Queue::own("a".into(), pattern.clone(), name.into()));
    for queue in &own {
        store.open(queue, Opening::NOW).await.unwrap();
    }
    publish(&store, 0..5).await;
    let ago = |seconds: i64| (jiff::Timestamp::now().as_millisecond() - seconds * 1000).to_string();
    let fetched = async |queue: &Queue, seconds: i64| {
        let key = key(&format!("m:{queue}"));
        server.command(&["HSET", &key, "fetched", &ago(seconds)]).await;
    };
    fetched(&own[0], 310).await;
    fetched(&own[1], 290).await;
    tidied(&store).await;
    assert_eq!(store.stats().await.unwrap().len(), 2, "neither is in the way");
    publish(&store, [5]).await;
    tidied(&store).await;
    let stats = store.stats().await.unwrap();
    assert_eq!(stats.iter().map(|stats| &stats.queue).collect::<Vec<_>>(), [&own[1]]);
    assert_eq!(stats[0].unfinished(), 6);
}

#[tokio::test]
async fn what_no_pattern_takes_does_not_pile_up() {
    let server = RedisServer::start().await;
    let store = forgetful(&server).await;
    let other = Queue::shared("a".into(), Pattern::new("user.deleted").unwrap());
    store.open(&other, Opening::NOW).await.unwrap();
    for _ in 0..5 {
        publish(&store, 0..200).await;
        assert_eq!(handled(&store, &other).await, [0; 0]);
    }
    eventually_async("they are removed", PATIENCE, async || {
        let _nothing = handled(&store, &other).await;
        tidied(&store).await;
        length(&server).await == 0
    })
    .await;
    assert_eq!(store.stats().await.unwrap()[0].unfinished(), 0);
}

#[tokio::test]
async fn the_janitor_keeps_up_with_any_publisher() {
    let server = RedisServer::start().await;
    let store = forgetful(&server).await;
    let queue = opened(&store, "a").await;
    publish(&store, 0..2_500).await;
    while !handled(&store, &queue).await.is_empty() {}
    tidied(&store).await;
    assert_eq!(length(&server).await, 0, "one round removes all that may go");
}

#[tokio::test]
async fn what_is_published_where_no_queue_was_ever_opened_does_not_pile_up() {
    let server = RedisServer::start().await;
    let store = forgetful(&server).await;
    publish(&store, 0..20).await;
    assert_eq!(length(&server).await, 20);
    tidied(&store).await;
    assert_eq!(length(&server).await, 0);
    // Nor does it after the server has lost its list of topics.
    server.command(&["FLUSHALL"]).await;
    publish(&store, 0..20).await;
    tidied(&store).await;
    assert_eq!(length(&server).await, 0);
}

#[tokio::test]
async fn how_old_a_queue_is_does_not_go_by_events_that_it_does_not_take() {
    let server = RedisServer::start().await;
    let store = forgetful(&server).await;
    let queue = Queue::shared("a".into(), Pattern::new("user.created").unwrap());
    store.open(&queue, Opening::NOW).await.unwrap();
    for id in ["1000-0", "2000-0"] {
        server.command(&["XADD", &key("s"), id, "type", "user.deleted", "id", "-", "event", "{}"]).await;
    }
    publish(&store, [1]).await;
    let oldest = store.stats().await.unwrap()[0].oldest;
    assert!(oldest.is_some_and(|age| age < PATIENCE), "{oldest:?}");
}
