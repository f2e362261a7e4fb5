//! Promises of `Cluster`.

use std::time::Duration;

use mainstay_testkit::eventually_async;
use mainstay_testkit::redis::Cluster;

/// `CLUSTER KEYSLOT foo`; `{foo}…` are there as well.
const FOO: u16 = 12_182;

const DEADLINE: Duration = Duration::from_secs(30);

async fn set(cluster: &Cluster, key: &str) {
    let master = cluster.server(cluster.master(FOO).await);
    assert_eq!(master.command(&["SET", key, "value"]).await, "OK");
}

async fn get(cluster: &Cluster, key: &str) -> String {
    cluster.server(cluster.master(FOO).await).command(&["GET", key]).await
}

#[tokio::test]
async fn a_killed_master_is_replaced_by_its_replica_and_comes_back_as_one() {
    let mut cluster = Cluster::start().await;
    assert_eq!(cluster.addresses().len(), 6);
    assert!(cluster.url().starts_with("redis+cluster://127.0.0.1:"));
    let old = cluster.master(FOO).await;
    set(&cluster, "foo").await;
    // A replica does not answer for its master unasked; it counts its keys.
    eventually_async("the replica has it", DEADLINE, async || {
        let mut copies = 0;
        for address in cluster.addresses() {
            copies += usize::from(cluster.server(address).command(&["DBSIZE"]).await == "1");
        }
        copies == 2
    })
    .await;
    cluster.kill_master(FOO).await;
    cluster.wait_until_covered().await;
    let new = cluster.master(FOO).await;
    assert_ne!(new, old);
    assert_eq!(get(&cluster, "foo").await, "value");
    cluster.restart_dead().await;
    assert_eq!(cluster.master(FOO).await, new);
    assert!(cluster.server(old).command(&["ROLE"]).await.starts_with("slave\n"));
    assert_eq!(cluster.server(old).command(&["DBSIZE"]).await, "1");
}

#[tokio::test]
async fn a_paused_master_is_replaced_too() {
    let cluster = Cluster::start().await;
    let old = cluster.master(FOO).await;
    cluster.server(old).pause();
    cluster.wait_until_covered().await;
    assert_ne!(cluster.master(FOO).await, old);
    set(&cluster, "foo").await;
    cluster.server(old).resume();
    eventually_async("it is a replica", DEADLINE, async || {
        cluster.server(old).command(&["ROLE"]).await.starts_with("slave\n")
    })
    .await;
}

#[tokio::test]
async fn a_slot_moves_with_its_keys_and_asks_on_the_way() {
    let cluster = Cluster::start().await;
    for number in 0..250 {
        set(&cluster, &format!("{{foo}}{number}")).await;
    }
    let old = cluster.master(FOO).await;
    cluster.migrate_slot(FOO).await;
    let new = cluster.master(FOO).await;
    assert_ne!(new, old);
    assert_eq!(cluster.server(new).command(&["DBSIZE"]).await, "250");
    assert_eq!(cluster.server(old).command(&["DBSIZE"]).await, "0");
    assert_eq!(cluster.server(old).command(&["GET", "{foo}1"]).await, format!("-MOVED {FOO} {new}"));

    cluster.start_migration(FOO).await;
    assert_eq!(get(&cluster, "{foo}1").await, "value");
    assert!(get(&cluster, "{foo}none").await.starts_with(&format!("-ASK {FOO} 127.0.0.1:")));
    cluster.finish_migration(FOO).await;
    assert_ne!(cluster.master(FOO).await, new);
    assert_eq!(get(&cluster, "{foo}1").await, "value");
    assert_eq!(get(&cluster, "{foo}none").await, "(nil)");
}
