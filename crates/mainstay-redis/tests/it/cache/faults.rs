//! The way to the server breaks: nothing that was near is used for long, and nothing waits.

use std::sync::mpsc;

use mainstay_core::cache::{Claim, Error, Lookup, Token};
use mainstay_testkit::redis::{Proxy, Sentinels};
use tokio::time::Instant;

use super::*;

/// A server, a process that reaches it through a proxy, and one that reaches it directly.
struct Ground {
    server: RedisServer,
    proxy: Proxy,
    far: Process,
    writer: Process,
}

async fn ground() -> Ground {
    let server = RedisServer::start().await;
    let proxy = Proxy::start(server.address()).await;
    let far = Process::with(proxy.address(), "svc", Options::default()).await;
    let writer = Process::start(server.address(), "svc").await;
    Ground { server, proxy, far, writer }
}

impl Ground {
    /// The value 1 is near.
    async fn warm(&self) {
        self.writer.set("k", 1).await;
        self.far.warm("k", 1).await;
    }

    /// How long after `changed` the old value was still found near, at most.
    async fn assert_bound(&self, changed: Instant) {
        assert_bound(&self.far, changed).await;
    }
}

/// How long after `changed` the value 1 was still found near, at most.
async fn assert_bound(process: &Process, changed: Instant) {
    let mut last = Duration::ZERO;
    while changed.elapsed() < BOUND + SECOND / 2 {
        let now = changed.elapsed();
        if process.near("k") == Some(1) {
            last = now;
        }
        tokio::time::sleep(5 * MS).await;
    }
    assert!(last <= BOUND, "it was found {last:?} after it had changed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn behind_a_silent_wire_nothing_near_is_older_than_three_seconds() {
    let ground = ground().await;
    ground.warm().await;
    ground.proxy.blackhole();
    ground.writer.set("k", 2).await;
    ground.assert_bound(Instant::now()).await;
    ground.proxy.pass();
    let back = async || matches!(ground.far.cache.get::<u64>("k").await, Ok(Some(2)));
    eventually_async("the new value is seen", 10 * SECOND, back).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_only_answers_are_lost_nothing_near_is_older_than_three_seconds() {
    let ground = ground().await;
    ground.warm().await;
    ground.proxy.drop_replies();
    ground.writer.set("k", 2).await;
    ground.assert_bound(Instant::now()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_the_connection_is_cut_what_was_near_is_dropped_at_once() {
    let ground = ground().await;
    for _ in 0..5 {
        ground.warm().await;
        ground.proxy.refuse();
        let gone = async || ground.far.near("k").is_none();
        eventually_async("it is dropped", SECOND, gone).await;
        ground.writer.set("k", 2).await;
        ground.proxy.pass();
        let back = async || matches!(ground.far.cache.get::<u64>("k").await, Ok(Some(2)));
        eventually_async("the new value is seen", 10 * SECOND, back).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_the_server_restarts_without_its_data_nothing_of_it_is_near() {
    let mut ground = ground().await;
    ground.warm().await;
    ground.server.kill();
    let killed = Instant::now();
    ground.server.restart_empty().await;
    ground.assert_bound(killed).await;
    let back = async || matches!(ground.far.cache.get::<u64>("k").await, Ok(None));
    eventually_async("the server answers again", 10 * SECOND, back).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_server_is_not_believed_for_longer_than_three_seconds() {
    let ground = ground().await;
    ground.warm().await;
    ground.server.pause();
    ground.assert_bound(Instant::now()).await;
    ground.server.resume();
    let back = async || matches!(ground.far.cache.get::<u64>("k").await, Ok(Some(1)));
    eventually_async("the server answers again", 10 * SECOND, back).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_server_is_gone_answers_are_quick_and_values_are_loaded_here() {
    let mut ground = ground().await;
    ground.warm().await;
    ground.server.kill();
    let gone = async || matches!(ground.writer.cache.get::<u64>("other").await, Err(Error::Unavailable(_)));
    eventually_async("the server is known to be gone", 10 * SECOND, gone).await;
    let begun = Instant::now();
    for n in 0..200_u64 {
        assert!(matches!(ground.writer.cache.get::<u64>("other").await, Err(Error::Unavailable(_))));
        let load = move || async move { Ok::<_, std::io::Error>(n) };
        assert_eq!(ground.writer.cache.get_or_load("other", Ttl::hours(1), load).await.unwrap(), n);
    }
    assert!(begun.elapsed() < SECOND, "{:?}", begun.elapsed());
    ground.server.restart().await;
    let back = async || matches!(ground.writer.cache.get::<u64>("other").await, Ok(None));
    eventually_async("the server answers again", 10 * SECOND, back).await;
}

/// Replies are lost after each of the first requests in turn: whatever was asked is asked again, or fails in a way
/// that says so.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_is_lost_harms_no_verb() {
    let ground = ground().await;
    for round in 0..rounds(12) {
        let key = format!("lost:{round}");
        ground.proxy.cut_after_request(1 + round % 6);
        let load = || async { Ok::<_, std::io::Error>(1_u64) };
        let policy = exactly(Ttl::hours(1)).hard_timeout(2 * SECOND);
        assert_eq!(ground.far.cache.get_or_load(&key, policy, load).await.unwrap(), 1);
        let set = ground.far.cache.set(&key, &2_u64, Ttl::hours(1)).await;
        if set.is_ok() {
            assert_ne!(ground.writer.get(&key).await, Some(1));
        }
        let back = async || ground.far.cache.set(&key, &3_u64, Ttl::hours(1)).await.is_ok();
        eventually_async("the server answers again", 10 * SECOND, back).await;
        // None: an earlier `set` that failed is made up for by an invalidation, however late.
        let seen = async || matches!(ground.writer.get(&key).await, None | Some(3));
        eventually_async("the last value is seen", BOUND, seen).await;
        ground.proxy.pass();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_failover_nothing_near_is_older_than_three_seconds() {
    let mut sentinels = Sentinels::start().await;
    let url = sentinels.url();
    let (far, writer) = (
        Process::at(&url, "svc", Options::default()).await,
        Process::at(&url, "svc", Options::default()).await,
    );
    writer.set("k", 1).await;
    far.warm("k", 1).await;
    sentinels.kill_master().await;
    let written = async || writer.cache.set("k", &2_u64, Ttl::hours(1)).await.is_ok();
    eventually_async("the new primary takes a value", 30 * SECOND, written).await;
    assert_bound(&far, Instant::now()).await;
    // None: what failed meanwhile is made up for by invalidations, however late.
    let back = async || matches!(far.cache.get::<u64>("k").await, Ok(None | Some(2)));
    eventually_async("the new primary is read", 10 * SECOND, back).await;
}

/// An answer says how things were when the server gave it, not when it arrives.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_answer_does_not_make_a_value_live_longer() {
    let ground = ground().await;
    let clock = Clock::system();
    ground.proxy.delay(50 * MS);
    for key in ["got", "looked up"] {
        let live = 5 * SECOND;
        ground.writer.cache.set(key, &1_u64, exactly(live)).await.unwrap();
        let end = clock.now() + live;
        let name = Key::new(key).unwrap();
        let found = if key == "got" {
            ground.far.store.get(name).await.unwrap().expect("it is fresh")
        } else {
            let claim = Claim { token: Token::random(), lease: SECOND, min_fresh: Duration::ZERO, tags: &[] };
            match ground.far.store.lookup(name, claim).await.unwrap() {
                Lookup::Hit(found) => found,
                other => panic!("it is fresh: {other:?}"),
            }
        };
        assert!(clock.now() + found.fresh_for <= end + MS, "{key}: {:?}", found.fresh_for);
    }
}

/// The connection is driven by a runtime that somebody blocks: what it would say is not heard, and what it said
/// before is not believed for longer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_blocked_runtime_does_not_keep_old_values_alive() {
    let server = RedisServer::start().await;
    let writer = Process::start(server.address(), "svc").await;
    writer.set("k", 1).await;
    let (address, (blocked, started)) = (server.address(), mpsc::channel());
    let (end, ended) = mpsc::channel::<()>();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let thread = std::thread::spawn(move || {
        runtime.block_on(async {
            let process = Arc::new(Process::start(address, "svc").await);
            process.warm("k", 1).await;
            blocked.send(Arc::clone(&process)).unwrap();
            let _blocked = ended.recv_timeout(10 * SECOND);
        });
    });
    let process = tokio::task::spawn_blocking(move || started.recv().unwrap()).await.unwrap();
    writer.set("k", 2).await;
    let changed = Instant::now();
    let mut last = Duration::ZERO;
    while changed.elapsed() < BOUND + SECOND / 2 {
        let now = changed.elapsed();
        if process.near("k").is_some() {
            last = now;
        }
        tokio::time::sleep(5 * MS).await;
    }
    assert!(last > Duration::ZERO && last <= BOUND, "it was found {last:?} after it had changed");
    end.send(()).unwrap();
    tokio::task::spawn_blocking(move || thread.join().unwrap()).await.unwrap();
}

#[tokio::test]
async fn a_lease_that_a_failover_brings_back_delays_nobody_while_its_holder_lives() {
    let server = RedisServer::start().await;
    let (one, other) =
        (Process::start(server.address(), "svc").await, Process::start(server.address(), "svc").await);
    let (seen, lease) = (server.address(), "ms:{svc:cache:k}:le");
    let load = move || async move {
        // What a replica has that hears no more of what happens then.
        let mut connection = tokio::net::TcpStream::connect(seen).await?;
        let question = format!("COPY {lease} kept\r\n");
        tokio::io::AsyncWriteExt::write_all(&mut connection, question.as_bytes()).await?;
        tokio::io::AsyncReadExt::read_u8(&mut connection).await?;
        Ok::<_, std::io::Error>(1_u64)
    };
    one.cache.get_or_load("k", exactly(Ttl::hours(1)), load).await.unwrap();
    assert_eq!(server.command(&["DEL", "ms:{svc:cache:k}:v"]).await, "1");
    assert_eq!(server.command(&["RENAME", "kept", lease]).await, "OK");
    let begun = Instant::now();
    let loaded = async |process: &Process| {
        let load = || async { Ok::<_, std::io::Error>(2_u64) };
        process.cache.get_or_load("k", exactly(Ttl::hours(1)), load).await.unwrap()
    };
    assert_eq!(tokio::join!(loaded(&other), loaded(&one)), (2, 2));
    assert!(begun.elapsed() < 10 * SECOND, "{:?}", begun.elapsed());
}
