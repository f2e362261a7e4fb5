//! Servers that die, forget and stay silent.

use std::time::Duration;

use mainstay_core::event::store::{Opening, Published, Start, Store};
use mainstay_core::store::StoreError;
use mainstay_redis::event::{Options, RedisEvents};
use mainstay_testkit::eventually_async;
use mainstay_testkit::redis::{Proxy, RedisServer, Sentinels};

use super::{
    NAMESPACE, PATIENCE, connect, done, event, fetch, handled, key, numbers, opened, publish, queue, store,
    want,
};

#[tokio::test]
async fn a_group_that_somebody_destroyed_is_made_again_where_it_was() {
    let server = RedisServer::start().await;
    let store = store(&server.url()).await;
    let queue = opened(&store, "a").await;
    publish(&store, 0..6).await;
    let want = mainstay_core::event::store::Fetch { credits: 4, ..want(Duration::ZERO) };
    let taken = store.fetch(&queue, want).await.unwrap();
    done(&store, &queue, &taken[..2]).await;
    server.command(&["XGROUP", "DESTROY", &key("s"), &queue.to_string()]).await;
    assert_eq!(numbers(&fetch(&store, &queue).await), [4, 5], "neither lost nor delivered twice");
    done(&store, &queue, &taken[2..]).await;
    assert_eq!(store.stats().await.unwrap()[0].pending, 2);
}

#[tokio::test]
async fn a_queue_that_the_server_lost_is_opened_again_with_all_that_came_since() {
    let mut server = RedisServer::start().await;
    let here = store(&server.url()).await;
    let queue = opened(&here, "a").await;
    publish(&here, [1]).await;
    assert_eq!(handled(&here, &queue).await, [1]);
    server.restart_empty().await;
    let there = store(&server.url()).await;
    eventually_async("it can be published", PATIENCE, async || there.publish(&[event(2)]).await.is_ok())
        .await;
    eventually_async("the loss is seen", PATIENCE, async || {
        matches!(here.fetch(&queue, want(Duration::ZERO)).await, Err(StoreError::Rejected { .. }))
    })
    .await;
    here.open(&queue, Opening::NOW).await.unwrap();
    assert_eq!(handled(&here, &queue).await, [2]);
}

#[tokio::test]
async fn a_queue_that_was_retired_elsewhere_is_not_flooded_when_it_is_opened_again_by_a_new_process() {
    let server = RedisServer::start().await;
    let (here, there) = (store(&server.url()).await, store(&server.url()).await);
    let queue = opened(&here, "a").await;
    publish(&here, [1]).await;
    assert_eq!(there.retire(&queue).await, Ok(1));
    let later = store(&server.url()).await;
    later.open(&queue, Opening::NOW).await.unwrap();
    assert_eq!(handled(&later, &queue).await, [0; 0]);
}

#[tokio::test]
async fn a_publish_whose_answer_was_cut_off_is_one_event() {
    let server = RedisServer::start().await;
    let proxy = Proxy::start(server.address()).await;
    let direct = store(&server.url()).await;
    let queue = opened(&direct, "a").await;
    let cut = store(&format!("redis://{}", proxy.address())).await;
    for number in 0..10 {
        proxy.drop_replies();
        let one = [event(number)];
        let asked = tokio::time::timeout(Duration::from_millis(100), cut.publish(&one)).await;
        assert!(asked.is_err(), "nothing answers");
        proxy.cut();
        proxy.pass();
        eventually_async("it is taken", PATIENCE, async || {
            cut.publish(&one).await == Ok(Published::Accepted)
        })
        .await;
    }
    assert_eq!(handled(&direct, &queue).await, (0..10).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_server_that_dies_with_everything_on_its_disk_loses_nothing_and_nothing_stands_still() {
    let mut server = RedisServer::builder().aof_always().start().await;
    let store = store(&server.url()).await;
    let queue = opened(&store, "a").await;
    let mut got = Vec::new();
    for life in 0..3 {
        publish(&store, life * 10..life * 10 + 10).await;
        let taken = fetch(&store, &queue).await;
        server.kill();
        assert!(store.publish(&[event(99)]).await.is_err(), "nobody is there");
        server.restart().await;
        for delivery in &taken {
            eventually_async("it is settled", PATIENCE, async || {
                let verdict = mainstay_core::event::store::Verdict::Done;
                store.settle(&queue, delivery.receipt, verdict).await.is_ok()
            })
            .await;
        }
        got.extend(numbers(&taken));
    }
    got.extend(handled(&store, &queue).await);
    got.retain(|number| *number != 99);
    assert_eq!(got, (0..30).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_waiting_fetch_is_woken_by_another_process_and_fails_when_the_server_goes() {
    let mut server = RedisServer::start().await;
    let (here, there) = (store(&server.url()).await, store(&server.url()).await);
    let queue = opened(&here, "a").await;
    let (got, _) = tokio::join!(here.fetch(&queue, want(PATIENCE)), publish(&there, [7]));
    assert_eq!(numbers(&got.unwrap()), [7]);
    let waiting = here.fetch(&queue, want(PATIENCE));
    let (waited, ()) = tokio::join!(waiting, async { server.kill() });
    assert!(waited.is_err(), "{waited:?}");
}

#[tokio::test]
async fn after_a_failover_to_a_primary_whose_clock_is_behind_nothing_is_skipped() {
    let mut sentinels = Sentinels::start_with(mainstay_testkit::redis::RedisServerBuilder::clock_shim).await;
    let store = store(&sentinels.url()).await;
    let queue = opened(&store, "a").await;
    publish(&store, 0..5).await;
    assert_eq!(handled(&store, &queue).await, [0, 1, 2, 3, 4]);
    let stream = sentinels.server(sentinels.master()).command(&["KEYS", "*}:s"]).await;
    for replica in sentinels.replicas() {
        let replica = sentinels.server(replica);
        eventually_async("it has them all", PATIENCE, async || {
            replica.command(&["XLEN", &stream]).await == "5"
        })
        .await;
        replica.step_clock(-30.0);
    }
    let primary = sentinels.failover().await;
    let (last, mut got) = (event(5), Vec::new());
    eventually_async("it arrives and stays", PATIENCE, async || {
        // Again: the old primary may have taken it, and given it, with what it then lost.
        let _unless_it_is_away = store.publish(std::slice::from_ref(&last)).await;
        if let Ok(taken) = store.fetch(&queue, want(Duration::ZERO)).await {
            got.extend(numbers(&taken));
        }
        let read = store.history(&queue.pattern, Start::Oldest, 100).await;
        let primary = sentinels.server(primary).command(&["XLEN", &stream]).await;
        got.contains(&5) && read.is_ok_and(|read| read.events.len() == 6) && primary == "6"
    })
    .await;
}

#[tokio::test]
async fn at_its_bound_a_queue_refuses_and_goes_on_when_it_was_worked_off() {
    let server = RedisServer::start().await;
    let mut options = Options::default();
    options.max_queue = 10;
    let store = RedisEvents::new(connect(&server.url()).await, NAMESPACE, options);
    let (fast, slow) = (opened(&store, "fast").await, opened(&store, "slow").await);
    let mut published = 0;
    while store.publish(&[event(published)]).await == Ok(Published::Accepted) {
        published += 1;
        assert_eq!(handled(&store, &fast).await, [published - 1]);
    }
    assert_eq!(published, 10, "the slow one is full");
    assert_eq!(handled(&store, &slow).await, (0..10).collect::<Vec<_>>());
    publish(&store, [10]).await;
    assert_eq!(handled(&store, &self::queue("slow")).await, [10]);
}
