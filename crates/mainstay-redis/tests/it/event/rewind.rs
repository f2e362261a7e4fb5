//! Queues that are set back, on a server.

use std::sync::Arc;
use std::time::Duration;

use mainstay_core::event::Envelope;
use mainstay_core::event::store::{Opening, Published, Start, Store};
use mainstay_redis::event::{Options, RedisEvents};
use mainstay_testkit::redis::RedisServer;

use super::{NAMESPACE, connect, done, event, fetch, handled, numbers, opened, publish, queue, store};

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

#[tokio::test]
async fn an_ordered_queue_with_a_long_line_goes_on_after_it_is_rewound() {
    let server = RedisServer::start().await;
    let store = store(&server.url()).await;
    let queue = queue("a");
    store.open(&queue, Opening::NOW.ordered()).await.unwrap();
    let of_one_subject = |number| {
        let mut event = Envelope::clone(&event(number));
        event.subject = Some("a".to_owned());
        Arc::new(event)
    };
    let events: Vec<_> = (0..1_200).map(of_one_subject).collect();
    assert_eq!(store.publish(&events).await, Ok(Published::Accepted));
    let first = fetch(&store, &queue).await;
    assert_eq!(numbers(&first), [0]);
    for _ in 0..3 {
        assert_eq!(numbers(&fetch(&store, &queue).await), [0; 0], "a thousand are behind the first");
    }
    done(&store, &queue, &first).await;
    store.rewind(&queue, Start::Oldest).await.unwrap();
    for number in 0..1_200 {
        assert_eq!(handled(&store, &queue).await, [number]);
    }
    assert_eq!(store.stats().await.unwrap()[0].unfinished(), 0);
}
