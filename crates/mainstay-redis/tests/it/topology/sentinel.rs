//! A primary that is replaced, and sentinels that are of no help.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::time::Instant;

use mainstay_redis::{Answer, CallError, Class, Options, Redis};
use mainstay_testkit::eventually_async;
use mainstay_testkit::redis::{Proxy, RedisServer, Sentinels};

use super::{SOON, address, connected, get, incr, listen, open, set};

fn primary(redis: &Redis) -> String {
    redis.status().servers.first().map(|server| server.address.clone()).unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_go_to_the_new_primary_within_a_second_of_its_promotion() {
    let mut sentinels = Sentinels::start().await;
    let redis = connected(&sentinels.url()).await;
    let old = sentinels.master();
    assert_eq!(primary(&redis), old.to_string());
    let epoch = *redis.epochs().borrow();
    let bell = listen(&redis, "c").await;
    sentinels.kill_master().await;
    tokio::time::timeout(SOON, bell).await.expect("what listens is told that it may have missed something");

    let new = sentinels.wait_for_new_master(old).await;
    let promoted = Instant::now();
    let written = async || redis.call(set("key", "value")).await.is_ok();
    eventually_async("writes go to the new primary", Duration::from_secs(1), written).await;
    println!("written {:?} after the sentinels agreed", promoted.elapsed());
    assert_eq!(primary(&redis), new.to_string());
    assert!(*redis.epochs().borrow() > epoch);
    assert_eq!(sentinels.server(new).command(&["GET", "key"]).await, "value");
    redis.ready(SOON).await.unwrap();

    let bell = listen(&redis, "d").await;
    sentinels.server(new).command(&["PUBLISH", "d", ""]).await;
    tokio::time::timeout(SOON, bell).await.expect("what is published on the new primary is heard");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_primary_that_lives_on_as_a_replica_is_left_and_no_command_happens_twice() {
    let mut sentinels = Sentinels::start().await;
    let redis = connected(&sentinels.url()).await;
    let old = sentinels.master();
    let witness = redis.witness("key").unwrap();
    let calls = {
        let redis = redis.clone();
        tokio::spawn(async move {
            let (mut sent, mut on_new) = (0, 0);
            while on_new < 100 {
                let moved = primary(&redis) != old.to_string();
                match redis.call(incr(Class::Once, "n")).await {
                    Ok(_) => (sent, on_new) = (sent + 1, on_new + i64::from(moved)),
                    Err(CallError::Unknown { .. }) => sent += 1,
                    Err(_) => tokio::task::yield_now().await,
                }
            }
            sent
        })
    };
    let new = sentinels.failover().await;
    let sent = tokio::time::timeout(SOON, calls).await.expect("calls go on").unwrap();
    let happened: i64 = sentinels.server(new).command(&["GET", "n"]).await.parse().unwrap();
    assert!((100..=sent).contains(&happened), "{happened} of {sent}");
    assert!(!witness.holds(redis.clock().now()), "what was read from the old primary is not trusted");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failover_that_lost_writes_is_a_new_epoch() {
    let mut sentinels = Sentinels::start().await;
    let redis = connected(&sentinels.url()).await;
    sentinels.cut_replicas().await;
    redis.call(set("lost", "1")).await.unwrap();
    let (old, epoch) = (sentinels.master(), *redis.epochs().borrow());
    sentinels.kill_master().await;
    sentinels.wait_for_new_master(old).await;
    let answer = async || redis.call(get("lost")).await.ok() == Some(Answer::Nil);
    eventually_async("the write is gone", Duration::from_secs(2), answer).await;
    assert!(*redis.epochs().borrow() > epoch);
}

/// A sentinel that says to everyone that this is the primary, of this epoch.
async fn liar(primary: SocketAddr, epoch: u64) -> SocketAddr {
    let text = |text: String| format!("${}\r\n{text}\r\n", text.len());
    let (host, port) = (text(primary.ip().to_string()), text(primary.port().to_string()));
    let replies = [
        ("\nHELLO\r", format!("%1\r\n{}:3\r\n", text("proto".into()))),
        ("\nSUBSCRIBE\r", ">3\r\n$9\r\nsubscribe\r\n$14\r\n+switch-master\r\n:1\r\n".into()),
        ("GET-MASTER-ADDR-BY-NAME", format!("*2\r\n{host}{port}")),
        ("\nMASTER\r", format!("%1\r\n{}{}", text("config-epoch".into()), text(epoch.to_string()))),
        ("\nSENTINELS\r", "*0\r\n".into()),
    ];
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let here = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let replies = replies.clone();
            tokio::spawn(async move {
                let mut bytes = [0; 4096];
                while let Ok(read @ 1..) = stream.read(&mut bytes).await {
                    let asked = String::from_utf8_lossy(&bytes[..read]).to_uppercase();
                    let mut found: Vec<_> = replies
                        .iter()
                        .flat_map(|(word, reply)| asked.match_indices(word).map(move |(at, _)| (at, reply)))
                        .collect();
                    found.sort();
                    for (_, reply) in found {
                        let _closed = stream.write_all(reply.as_bytes()).await;
                    }
                }
            });
        }
    });
    here
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sentinels_that_are_down_hang_or_lie_delay_nobody() {
    let primary_server = RedisServer::start().await;
    let replica = RedisServer::builder().replica_of(&primary_server).start().await;
    let stale = RedisServer::start().await;
    let nowhere = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let hangs = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let sentinels = [
        nowhere,
        hangs.local_addr().unwrap(),
        liar(nowhere, 99).await,
        liar(replica.address(), 98).await,
        liar(hangs.local_addr().unwrap(), 97).await,
        liar(primary_server.address(), 7).await,
        liar(stale.address(), 3).await,
    ];
    let hosts: Vec<_> = sentinels.iter().map(|sentinel| address(*sentinel).to_string()).collect();
    let redis = open(Options::parse(&format!("redis+sentinel://{}/m", hosts.join(","))).unwrap());
    let begin = Instant::now();
    let found = async || primary(&redis) == primary_server.address().to_string();
    eventually_async("the right one is found", Duration::from_secs(2), found).await;
    println!("found after {:?}", begin.elapsed());
    redis.ready(SOON).await.unwrap();
    for _ in 0..100 {
        redis.call(incr(Class::Once, "n")).await.unwrap();
    }
    assert_eq!(primary_server.command(&["GET", "n"]).await, "100", "none went astray");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_primary_that_is_far_away_is_found() {
    let server = RedisServer::start().await;
    let far = Proxy::start(server.address()).await;
    far.delay(Duration::from_millis(75));
    let sentinel = liar(far.address(), 1).await;
    let mut options = Options::parse(&format!("redis+sentinel://{sentinel}/m")).unwrap();
    (options.connect_timeout, options.command_timeout) = (SOON, SOON);
    let redis = open(options);
    redis.ready(SOON).await.unwrap();
    redis.call(incr(Class::Once, "n")).await.unwrap();
}
