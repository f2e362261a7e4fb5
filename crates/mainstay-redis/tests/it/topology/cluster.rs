//! Many primaries: slots that move under load, and a primary that dies.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use mainstay_redis::{Answer, CallError, Class, Command, Lane, Options};
use mainstay_testkit::eventually_async;
use mainstay_testkit::redis::{Cluster, Proxy, RedisServer};

use super::{SOON, connected, count, get, incr, listen, open, set};

fn key(number: usize) -> String {
    format!("k:{number}")
}

/// CRC16 of the whole key: for keys without a tag.
fn slot(key: &str) -> u16 {
    let crc = key.bytes().fold(0_u16, |crc, byte| {
        (0..8).fold(crc ^ (u16::from(byte) << 8), |crc, _| {
            if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 }
        })
    });
    crc % 16_384
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slot_that_moves_is_followed_without_an_error_and_without_a_second_time() {
    let cluster = Cluster::start().await;
    let redis = connected(&cluster.url()).await;
    assert!(redis.is_cluster());
    assert_eq!((redis.status().servers.len(), redis.primaries().len()), (3, 3));

    // The keys of every primary are reached, with one answer for each, in order.
    let keys: Vec<_> = (0..300).map(key).collect();
    for answer in redis.call_all(keys.iter().map(|key| set(key, key)).collect()).await {
        assert!(answer.is_ok(), "{answer:?}");
    }
    let answers = redis.call_all(keys.iter().map(|key| get(key)).collect()).await;
    for (key, answer) in keys.iter().zip(answers) {
        assert_eq!(answer, Ok(Answer::Bytes(key.clone().into())));
    }
    redis.call(Command::new(Class::Read, "PING")).await.unwrap();

    // `Once`, singly and in batches, through migrations, each with its window of `ASK`.
    let keys: Arc<Vec<_>> = Arc::new((0..8).map(|n| format!("{{moves}}:{n}")).collect());
    let moving = slot("moves");
    let stop = Arc::new(AtomicBool::new(false));
    let load = {
        let (redis, keys, stop) = (redis.clone(), Arc::clone(&keys), Arc::clone(&stop));
        tokio::spawn(async move {
            let mut done = 0_i64;
            while !stop.load(Ordering::Relaxed) {
                for key in keys.iter() {
                    redis.call(incr(Class::Once, key)).await.unwrap();
                }
                let batch = keys.iter().map(|key| incr(Class::Once, key)).collect();
                redis.call_all(batch).await.into_iter().for_each(|answer| drop(answer.unwrap()));
                done += 2;
            }
            done
        })
    };
    for turn in 0..3 {
        cluster.start_migration(moving).await;
        // Not at the old server, and not yet at the new one.
        let fresh = format!("{{moves}}:fresh:{turn}");
        let witness = redis.witness(&fresh).unwrap();
        assert_eq!(redis.call(get(&fresh).lane(Lane::Tracked)).await, Ok(Answer::Nil));
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_that_was_read_before_a_slot_moved_is_trusted_after_it() {
    let cluster = Cluster::start().await;
    let redis = connected(&cluster.url()).await;
    // Not there: its server has nothing to say when it comes to be at another.
    let (absent, moving) = ("absent", slot("absent"));
    let witness = redis.witness(absent).unwrap();
    assert_eq!(redis.call(get(absent).lane(Lane::Tracked)).await, Ok(Answer::Nil));
    let elsewhere = redis.witness("other").unwrap();
    cluster.migrate_slot(moving).await;
    let moved = Instant::now();
    let new = cluster.master(moving).await;
    assert_eq!(cluster.server(new).command(&["SET", absent, "there"]).await, "OK");
    // No call of this process meets the move.
    let ended = async || !witness.holds(redis.clock().now());
    eventually_async("it is seen all the same", Duration::from_secs(3), ended).await;
    println!("seen after {:?}", moved.elapsed());
    assert!(elsewhere.holds(redis.clock().now()), "other slots are not concerned");

    let witness = redis.witness(absent).unwrap();
    assert_eq!(redis.call(get(absent).lane(Lane::Tracked)).await, Ok(Answer::Bytes("there".into())));
    assert!(witness.holds(redis.clock().now()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_a_primary_dies_only_its_slots_fail_at_once_until_its_replica_serves_them() {
    let mut cluster = Cluster::start().await;
    let redis = connected(&cluster.url()).await;
    let mut masters = Vec::new();
    for number in 0..200 {
        masters.push((cluster.master(slot(&key(number))).await, key(number)));
    }
    let (dead, lost) = masters[0].clone();
    let alive: Vec<_> = masters.iter().filter(|(master, _)| *master != dead).map(|(_, key)| key).collect();
    let witness = redis.witness(&lost).unwrap();
    let epoch = *redis.epochs().borrow();

    cluster.kill_master(slot(&lost)).await;
    let at_once = async || {
        let begin = Instant::now();
        let answer = redis.call(get(&lost)).await;
        matches!(answer, Err(CallError::NotSent { .. })) && begin.elapsed() < Duration::from_millis(5)
    };
    eventually_async("its slots fail at once", Duration::from_secs(1), at_once).await;
    assert!(!witness.holds(redis.clock().now()));
    for key in &alive {
        redis.call(get(key)).await.unwrap();
    }

    cluster.wait_until_covered().await;
    let covered = Instant::now();
    let all = async || {
        let answers = redis.call_all(masters.iter().map(|(_, key)| set(key, "again")).collect()).await;
        answers.iter().all(Result::is_ok)
    };
    eventually_async("all slots are served", Duration::from_secs(1), all).await;
    println!("served {:?} after the servers agreed", covered.elapsed());
    assert!(*redis.epochs().borrow() > epoch);
    redis.ready(SOON).await.unwrap();

    let bell = listen(&redis, "c").await;
    let any = cluster.master(slot(&lost)).await;
    cluster.server(any).command(&["PUBLISH", "c", ""]).await;
    tokio::time::timeout(SOON, bell).await.expect("what is published anywhere is heard");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn seeds_that_are_down_or_hang_delay_nobody() {
    let cluster = Cluster::start().await;
    let nowhere = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let hangs = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let hanging = hangs.local_addr().unwrap();
    let url = format!("redis+cluster://{nowhere},{hanging},{}", cluster.addresses()[4]);
    let options = Options::parse(&url).unwrap();
    assert!(options.connect_timeout > Duration::from_millis(900), "it would be waited for");
    open(options).ready(Duration::from_millis(900)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_seed_that_is_cut_off_is_not_believed_and_a_lone_server_does_not_lead_elsewhere() {
    let cluster = Cluster::start().await;
    // It has slots, and says so first; that there are others it does not know.
    let cut_off = RedisServer::builder().arg("cluster-enabled", "yes").start().await;
    assert_eq!(cut_off.command(&["CLUSTER", "ADDSLOTS", "0", "1"]).await, "OK");
    let member = Proxy::start(cluster.addresses()[0]).await;
    member.delay(Duration::from_millis(50));
    let redis = connected(&format!("redis+cluster://{},{}", cut_off.address(), member.address())).await;
    redis.call(set("key", "value")).await.unwrap();
    assert!(redis.status().servers.iter().all(|server| server.address != cut_off.address().to_string()));

    // A member that is taken for a server on its own.
    let mine = cluster.master(slot("key")).await;
    let other = cluster.addresses().into_iter().find(|server| *server != mine).unwrap();
    let alone = connected(&format!("redis://{other}")).await;
    let answer = alone.call(get("key")).await;
    assert!(matches!(answer, Err(CallError::Rejected { code, .. }) if &*code == "MOVED"));
    assert_eq!(alone.status().servers.len(), 1, "nobody asked for more");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_listens_at_a_server_that_lost_the_others_is_told_and_listens_elsewhere() {
    let cluster = Cluster::start().await;
    let redis = connected(&cluster.url()).await;
    let bell = listen(&redis, "c").await;
    let mut place = None;
    for server in cluster.addresses() {
        let subscribers = cluster.server(server).command(&["PUBSUB", "NUMSUB", "c"]).await;
        place = place.or(subscribers.contains('1').then_some(server));
    }
    // It answers on, and hears nothing any more that is published at another.
    assert_eq!(cluster.server(place.unwrap()).command(&["CLUSTER", "RESET", "HARD"]).await, "OK");
    tokio::time::timeout(Duration::from_secs(2), bell).await.expect("messages may be missed");
    let bell = listen(&redis, "c").await;
    let other = cluster.addresses().into_iter().find(|server| Some(*server) != place).unwrap();
    cluster.server(other).command(&["PUBLISH", "c", ""]).await;
    tokio::time::timeout(SOON, bell).await.expect("what is published elsewhere is heard");
}
