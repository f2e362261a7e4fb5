//! Holders that stand still: a process that is stopped, a runtime that is blocked.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use mainstay_core::lock::{Error, Options};
use mainstay_redis::fence::{self, FencedStore};
use mainstay_testkit::redis::RedisServer;
use mainstay_testkit::worker::{Parent, Worker};

use super::{NAMESPACE, SECOND, connect, locks, millis};

const TTL: std::time::Duration = millis(400);

async fn fenced(url: &str) -> FencedStore {
    FencedStore::new(super::by_url(url).await, NAMESPACE)
}

/// In the time it stood still another has taken the lock and written: what it says after that is that it lost, and
/// the resource agrees. Where nobody came, the resource would have taken its write; it is not offered.
#[tokio::test]
async fn a_holder_stopped_for_three_ttls_finds_its_guard_lost_before_its_next_write() {
    let (server, resource) = (RedisServer::start().await, RedisServer::start().await);
    let env = [("LOCKS", server.url()), ("RESOURCE", resource.url())];
    let env = env.each_ref().map(|(name, url)| (*name, url.as_str()));
    let own = locks(&connect(server.address()).await, Options::default());
    let store = fenced(&resource.url()).await;
    let mut workers = ["a", "b", "c"].map(|key| (key, Worker::spawn("lock::frozen::holder", &env)));
    for (key, worker) in &mut workers {
        worker.tell(key).await;
        assert_eq!(worker.line(20 * SECOND).await.as_deref(), Some("held and written"));
        worker.pause();
    }
    // Nobody comes for `a`.
    for key in ["b", "c"] {
        let guard = own.lock(key).wait(2 * TTL + SECOND).acquire().await.unwrap();
        store.key(key).unwrap().set(guard.fence(), b"later").await.unwrap();
    }
    tokio::time::sleep(3 * TTL).await;
    for (key, worker) in &mut workers {
        worker.tell("write").await;
        worker.resume();
        let refused = if *key == "a" { "lost" } else { "lost and refused" };
        assert_eq!(worker.line(20 * SECOND).await.as_deref(), Some(refused), "{key}");
        assert!(worker.wait(20 * SECOND).await.status.success());
    }
}

#[tokio::test]
#[ignore = "a process of the test above"]
async fn holder() {
    let Some(mut parent) = Parent::here() else { return };
    let locks = locks(&super::by_url(&std::env::var("LOCKS").unwrap()).await, Options::default());
    let store = fenced(&std::env::var("RESOURCE").unwrap()).await;
    let key = parent.order().await;
    let value = store.key(&key).unwrap();
    let guard = locks.lock(&key).ttl(TTL).acquire().await.unwrap();
    value.set(guard.fence(), b"first").await.unwrap();
    parent.say("held and written");
    assert_eq!(parent.order().await, "write");
    // The first thing it does: no question to a server, no other task comes before.
    let Err(lost) = guard.check() else { return parent.say("still believes to hold") };
    assert_eq!(guard.lost().await, lost);
    match key.as_str() {
        "a" => parent.say("lost"),
        _ => match value.set(guard.fence(), b"too late").await {
            Err(fence::Error::Stale { .. }) => parent.say("lost and refused"),
            other => parent.say(&format!("{other:?}")),
        },
    }
}

/// The runtime that the user's tasks, the connections and the guard live in does nothing at all for five ttls. It has
/// one thread; the test has another.
#[test]
#[expect(clippy::disallowed_methods, reason = "it is to block")]
fn renewals_go_on_while_the_runtime_is_blocked() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (blocked, asking) = (runtime(), runtime());
    let server = asking.block_on(RedisServer::start());
    let guard = blocked.block_on(async {
        let locks = locks(&connect(server.address()).await, Options::default());
        locks.lock("k").ttl(TTL).acquire().await.unwrap()
    });
    let (done, asked) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|threads| {
        threads.spawn(|| {
            asking.block_on(async {
                let locks = locks(&connect(server.address()).await, Options::default());
                while !done.load(Ordering::Relaxed) {
                    let refused = locks.lock("k").try_acquire().await.err();
                    assert!(matches!(refused, Some(Error::Contended { .. })), "{refused:?}");
                    asked.fetch_add(1, Ordering::Relaxed);
                    tokio::time::sleep(millis(20)).await;
                }
            });
        });
        blocked.block_on(async { std::thread::sleep(5 * TTL) });
        done.store(true, Ordering::Relaxed);
    });
    assert!(asked.into_inner() > 10);
    guard.check().expect("renewed all the time");
    blocked.block_on(async { guard.release().await.unwrap() });
}
