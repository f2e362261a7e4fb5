//! Many primaries: slots that move under load, and a primary that dies.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use mainstay_redis::{Answer, CallError, Class, Command, Lane, Options, Redis};
use mainstay_testkit::eventually_async;
use mainstay_testkit::redis::Cluster;

use super::{SOON, connected, count, get, incr, open, set};

/// A key of each slot's own.
fn key(number: usize) -> String {
    format!("k:{number}")
}

/// As the server computes it.
async fn slot(cluster: &Cluster, key: &str) -> u16 {
    let any = cluster.addresses()[0];
    cluster.server(any).command(&["CLUSTER", "KEYSLOT", key]).await.parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slot_that_moves_is_followed_without_an_error_and_without_a_second_time() {
    let cluster = Cluster::start().await;
    let redis = connected(&cluster.url()).await;
    assert!(redis.is_cluster());
    assert_eq!(redis.status().servers.len(), 3);

    // Every primary's keys are reached, by one answer for each, in order.
    let keys: Vec<_> = (0..300).map(key).collect();
    for answer in redis.call_all(keys.iter().map(|key| set(key, key)).collect()).await {
        assert!(answer.is_ok(), "{answer:?}");
    }
    let answers = redis.call_all(keys.iter().map(|key| get(key)).collect()).await;
    for (key, answer) in keys.iter().zip(answers) {
        assert_eq!(answer, Ok(Answer::Bytes(key.clone().into())));
    }

    // What has no key goes to any.
    redis.call(Command::new(Class::Read, "PING")).await.unwrap();

    // `Once` through migrations, each with its window of `ASK`.
    let keys: Arc<Vec<_>> = Arc::new((0..8).map(|n| format!("{{moves}}:{n}")).collect());
    let moving = slot(&cluster, "{moves}").await;
    let stop = Arc::new(AtomicBool::new(false));
    let load = {
        let (redis, keys, stop) = (redis.clone(), Arc::clone(&keys), Arc::clone(&stop));
        tokio::spawn(async move {
            let mut done = 0_i64;
            while !stop.load(Ordering::Relaxed) {
                for key in keys.iter() {
                    redis.call(incr(Class::Once, key)).await.unwrap();
                }
                done += 1;
            }
            done
        })
    };
    for _ in 0..3 {
        cluster.start_migration(moving).await;
        // Not at the old server, and not yet at the new one: `ASK`.
        let fresh = format!("{{moves}}:fresh:{}", rand_name());
        let witness = redis.witness(&fresh).unwrap();
        let answer = redis.call(get(&fresh).lane(Lane::Tracked)).await;
        assert_eq!(answer, Ok(Answer::Nil));
        assert!(!witness.holds(redis.clock().now()), "it was read from another server than the witness's");
        redis.call(set(&fresh, "new")).await.unwrap();
        cluster.finish_migration(moving).await;
        assert_eq!(redis.call(get(&fresh)).await, Ok(Answer::Bytes("new".into())));
    }
    stop.store(true, Ordering::Relaxed);
    let done = load.await.unwrap();
    for key in keys.iter() {
        assert_eq!(count(&redis, key).await, Ok(done), "each happened once");
    }
}

fn rand_name() -> String {
    Instant::now().elapsed().as_nanos().to_string()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_that_was_read_before_a_slot_moved_is_trusted_after_it() {
    let cluster = Cluster::start().await;
    let redis = connected(&cluster.url()).await;
    // Not there: its server has nothing to say when it comes to be at another.
    let absent = "{absent}";
    let moving = slot(&cluster, absent).await;
    let witness = redis.witness(absent).unwrap();
    assert_eq!(redis.call(get(absent).lane(Lane::Tracked)).await, Ok(Answer::Nil));
    let other = (0..).map(key).find(|key| redis_slot(key) != moving).unwrap();
    let elsewhere = redis.witness(&other).unwrap();
    cluster.migrate_slot(moving).await;
    let moved = Instant::now();
    let new = cluster.master(moving).await;
    assert_eq!(cluster.server(new).command(&["SET", absent, "there"]).await, "OK");
    // No call meets the move.
    let ended = async || !witness.holds(redis.clock().now());
    eventually_async("it is seen all the same", Duration::from_secs(3), ended).await;
    println!("seen after {:?}", moved.elapsed());
    assert!(elsewhere.holds(redis.clock().now()), "other slots are not concerned");
    let witness = redis.witness(absent).unwrap();
    assert_eq!(redis.call(get(absent).lane(Lane::Tracked)).await, Ok(Answer::Bytes("there".into())));
    assert!(witness.holds(redis.clock().now()));
}

/// CRC16 of the whole key: for keys without a tag.
fn redis_slot(key: &str) -> u16 {
    let crc = key.bytes().fold(0_u16, |crc, byte| {
        (0..8).fold(crc ^ (u16::from(byte) << 8), |crc, _| {
            if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 }
        })
    });
    crc % 16_384
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_a_primary_dies_only_its_slots_fail_at_once_until_its_replica_serves_them() {
    let mut cluster = Cluster::start().await;
    let redis = connected(&cluster.url()).await;
    let dead = redis_slot("k:0");
    let server = cluster.master(dead).await;
    let mut groups: (Vec<String>, Vec<String>) = (Vec::new(), Vec::new());
    for key in (0..200).map(key) {
        let of_dead = cluster.master(redis_slot(&key)).await == server;
        if of_dead { groups.0.push(key) } else { groups.1.push(key) }
    }
    let (gone, alive) = groups;
    let witness = redis.witness(&gone[0]).unwrap();
    let epoch = *redis.epochs().borrow();
    let mut bell = Box::pin(redis.listen(b"c".to_vec()).await.unwrap());

    cluster.kill_master(dead).await;
    let killed = Instant::now();
    assert!(!witness.holds(redis.clock().now()) || killed.elapsed() < Duration::from_secs(3));
    let at_once = async || {
        let begin = Instant::now();
        let answer = redis.call(get(&gone[0])).await;
        matches!(answer, Err(CallError::NotSent { .. })) && begin.elapsed() < Duration::from_millis(5)
    };
    eventually_async("its slots fail at once", Duration::from_secs(1), at_once).await;
    let mut failed = 0;
    for key in alive.iter().cycle().take(300) {
        // The Cluster itself refuses every slot while it votes, if it is set to require all.
        failed += u32::from(!matches!(redis.call(get(key)).await, Ok(_) | Err(CallError::NotSent { .. })));
    }
    assert_eq!(failed, 0);

    cluster.wait_until_covered().await;
    let covered = Instant::now();
    let all = async || {
        let answers = redis.call_all(gone.iter().chain(&alive).map(|key| set(key, "again")).collect()).await;
        answers.iter().all(Result::is_ok)
    };
    eventually_async("all slots are served", Duration::from_secs(1), all).await;
    println!("served {:?} after the servers agreed", covered.elapsed());
    assert!(*redis.epochs().borrow() > epoch);
    let epoch_ready = redis.ready(SOON).await;
    assert!(epoch_ready.is_ok());

    // A bell rings only if its own server died; the next one is heard either way.
    let _ = tokio::time::timeout(Duration::ZERO, &mut bell).await;
    let any = cluster.master(dead).await;
    let heard = async || {
        let Ok(bell) = redis.listen(b"d".to_vec()).await else { return false };
        cluster.server(any).command(&["PUBLISH", "d", ""]).await;
        tokio::time::timeout(Duration::from_secs(1), bell).await.is_ok()
    };
    eventually_async("subscriptions follow", SOON, heard).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn seeds_that_are_down_delay_nobody() {
    let cluster = Cluster::start().await;
    let nowhere = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let hangs = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let hanging = hangs.local_addr().unwrap();
    let url = format!("redis+cluster://{nowhere},{hanging},{}", cluster.addresses()[4]);
    let redis: Redis = open(Options::parse(&url).unwrap());
    redis.ready(Duration::from_millis(900)).await.unwrap();
}
