//! Queues that are set back, on a server.

use std::time::Duration;

use mainstay_core::event::store::{Start, Store};
use mainstay_redis::event::{Options, RedisEvents};
use mainstay_testkit::redis::RedisServer;

use super::{NAMESPACE, connect, done, fetch, handled, opened, publish};

#[tokio::test]
async fn what_a_rewound_queue_has_still_to_finish_is_not_removed_though_it_holds_something_later() {
    let server = RedisServer::start().await;
    let mut options = Options::default();
    options.retention = Duration::ZERO;
    let store = RedisEvents::new(connect(&server.url()).await, NAMESPACE, options);
    let queue = opened(&store, "a").await;
    publish(&store, 1..=5).await;
    let taken = fetch(&store, &queue).await;
    done(&store, &queue, &taken[..4]).await;
    store.rewind(&queue, Start::Oldest).await.unwrap();
    tokio::time::sleep(Duration::from_millis(5)).await;
    store.tidy().await.unwrap();
    assert_eq!(handled(&store, &queue).await, [1, 2, 3, 4]);
    done(&store, &queue, &taken[4..]).await;
    assert_eq!(store.stats().await.unwrap()[0].unfinished(), 0);
}
