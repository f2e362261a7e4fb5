//! Promises of `Sentinels`.

use std::net::SocketAddr;
use std::time::Duration;

use mainstay_testkit::eventually_async;
use mainstay_testkit::redis::{RedisServer, Sentinels};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

const DEADLINE: Duration = Duration::from_secs(30);

async fn set(server: &RedisServer, key: &str) {
    assert_eq!(server.command(&["SET", key, "value"]).await, "OK");
}

/// Writes a key and waits until both replicas have it.
async fn replicate(sentinels: &Sentinels, key: &str) {
    set(sentinels.server(sentinels.master()), key).await;
    for replica in sentinels.replicas() {
        eventually_async("the replica has it", DEADLINE, async || {
            sentinels.server(replica).command(&["EXISTS", key]).await == "1"
        })
        .await;
    }
}

async fn becomes_replica(server: &RedisServer) {
    eventually_async("it is a replica", DEADLINE, async || {
        // The sentinels reset its connections when they tell it.
        server.try_command(&["ROLE"]).await.is_ok_and(|role| role.starts_with("slave\n"))
    })
    .await;
}

/// Increments a counter until nobody answers; the last number that was acknowledged.
async fn increment(address: SocketAddr) -> u64 {
    let mut stream = BufReader::new(TcpStream::connect(address).await.unwrap());
    let mut last = 0;
    loop {
        let mut line = String::new();
        let sent = stream.write_all(b"INCR counter\r\n").await;
        if sent.is_err() || stream.read_line(&mut line).await.unwrap_or(0) == 0 {
            return last;
        }
        last = line.trim().trim_start_matches(':').parse().unwrap();
    }
}

#[tokio::test]
async fn a_killed_master_is_replaced_and_comes_back_as_a_replica() {
    let mut sentinels = Sentinels::start().await;
    assert_eq!(sentinels.addresses().len(), 3);
    assert_eq!(sentinels.master_name(), "mainstay");
    assert!(sentinels.url().starts_with("redis+sentinel://127.0.0.1:"));
    assert!(sentinels.url().ends_with("/mainstay"));

    let old = sentinels.master();
    replicate(&sentinels, "key").await;
    sentinels.kill_master().await;
    let new = sentinels.wait_for_new_master(old).await;
    assert_ne!(new, old);
    assert_eq!(sentinels.master(), new);
    assert_eq!(sentinels.server(new).command(&["GET", "key"]).await, "value");

    sentinels.restart_dead().await;
    becomes_replica(sentinels.server(old)).await;
    assert_eq!(sentinels.server(old).command(&["GET", "key"]).await, "value");

    // And once more: nothing is worn out.
    sentinels.kill_master().await;
    let third = sentinels.wait_for_new_master(new).await;
    assert_eq!(sentinels.server(third).command(&["GET", "key"]).await, "value");
}

#[tokio::test]
async fn a_lossy_failover_forgets_what_was_acknowledged_after_the_cut_and_nothing_else() {
    let mut sentinels = Sentinels::start().await;
    let old = sentinels.master();
    replicate(&sentinels, "before").await;
    sentinels.cut_replicas().await;
    for number in 0..100 {
        set(sentinels.server(old), &format!("after {number}")).await;
    }
    sentinels.kill_master().await;
    let new = sentinels.wait_for_new_master(old).await;
    assert_eq!(sentinels.server(new).command(&["KEYS", "*"]).await, "before");
    sentinels.restart_dead().await;
    assert_eq!(sentinels.server(old).command(&["KEYS", "*"]).await, "before");
}

#[tokio::test]
async fn while_a_lossy_failover_runs_the_old_master_acknowledges_writes_that_are_lost() {
    let mut sentinels = Sentinels::start().await;
    let old = sentinels.master();
    let (acknowledged, new) = tokio::join!(increment(old), sentinels.lossy_failover());
    let kept: u64 = sentinels.server(new).command(&["GET", "counter"]).await.parse().unwrap_or(0);
    assert!(kept < acknowledged, "{kept} of {acknowledged} kept");
}

#[tokio::test]
async fn a_failover_on_demand_leaves_the_old_master_running_and_makes_it_a_replica() {
    let mut sentinels = Sentinels::start_with(|server| server.arg("maxmemory-policy", "volatile-ttl")).await;
    let old = sentinels.master();
    let new = sentinels.failover().await;
    assert_ne!(new, old);
    for address in [old, new] {
        let policy = sentinels.server(address).command(&["CONFIG", "GET", "maxmemory-policy"]).await;
        assert_eq!(policy, "maxmemory-policy\nvolatile-ttl");
    }
    becomes_replica(sentinels.server(old)).await;
}

#[tokio::test]
async fn a_paused_master_is_replaced_by_two_sentinels_and_believes_in_itself_until_it_is_told() {
    let mut sentinels = Sentinels::start().await;
    let old = sentinels.master();
    sentinels.kill_sentinel(0);
    sentinels.server(old).pause();
    let new = sentinels.wait_for_new_master(old).await;
    set(sentinels.server(new), "key").await;
    sentinels.server(old).resume();
    becomes_replica(sentinels.server(old)).await;
    sentinels.restart_dead().await;
}
