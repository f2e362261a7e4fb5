//! Promises of `RedisServer`.

use std::time::Duration;

use mainstay_testkit::eventually_async;
use mainstay_testkit::redis::RedisServer;
use tokio::net::TcpStream;
use tokio::time::timeout;

const DEADLINE: Duration = Duration::from_secs(30);

#[tokio::test]
async fn a_restart_keeps_the_address_and_forgets_what_was_not_on_disk() {
    let mut server = RedisServer::start().await;
    let address = server.address();
    assert_eq!(server.url(), format!("redis://{address}"));
    assert_eq!(server.command(&["SET", "key", "value with\r\nlines"]).await, "OK");
    assert_eq!(server.command(&["GET", "key"]).await, "value with\r\nlines");

    server.kill();
    assert!(TcpStream::connect(address).await.is_err());
    server.restart().await;
    assert_eq!(server.address(), address);
    assert_eq!(server.command(&["DBSIZE"]).await, "0");
}

#[tokio::test]
async fn with_its_data_on_disk_a_killed_server_comes_back_with_it_unless_told_otherwise() {
    let mut server = RedisServer::builder().aof_always().start().await;
    server.command(&["SET", "key", "value"]).await;
    server.kill();
    server.restart().await;
    assert_eq!(server.command(&["GET", "key"]).await, "value");
    server.restart_empty().await;
    assert_eq!(server.command(&["GET", "key"]).await, "(nil)");
}

#[tokio::test]
async fn a_paused_server_accepts_and_does_not_answer_until_it_is_resumed() {
    let server = RedisServer::start().await;
    server.pause();
    TcpStream::connect(server.address()).await.unwrap();
    {
        let mut answer = std::pin::pin!(server.command(&["INCR", "counter"]));
        assert!(timeout(Duration::from_millis(50), answer.as_mut()).await.is_err());
        server.resume();
        assert_eq!(answer.await, "1");
    }
}

#[tokio::test]
async fn a_killed_server_is_gone_even_when_it_was_paused() {
    let mut server = RedisServer::start().await;
    server.pause();
    server.kill();
    assert!(TcpStream::connect(server.address()).await.is_err());
    let other = RedisServer::start().await;
    other.pause();
    let address = other.address();
    drop(other);
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn configuration_password_and_users_are_the_servers() {
    let server = RedisServer::builder()
        .arg("--maxmemory-policy", "allkeys-lru")
        .arg("databases", "3")
        .password("secret")
        .acl("worker", "on >other ~app:* +get")
        .start()
        .await;
    assert_eq!(server.url(), format!("redis://:secret@{}", server.address()));
    assert_eq!(server.command(&["CONFIG", "GET", "maxmemory-policy"]).await, "maxmemory-policy\nallkeys-lru");
    assert_eq!(server.command(&["AUTH", "worker", "other"]).await, "OK");
    assert!(server.command(&["AUTH", "worker", "wrong"]).await.starts_with("-WRONGPASS"));
}

#[tokio::test]
async fn a_replica_follows_its_master() {
    let master = RedisServer::builder().password("secret").start().await;
    let replica = RedisServer::builder().password("secret").replica_of(&master).start().await;
    master.command(&["SET", "key", "value"]).await;
    eventually_async("the replica has the key", DEADLINE, async || {
        replica.command(&["GET", "key"]).await == "value"
    })
    .await;
}

#[tokio::test]
#[should_panic(expected = "FATAL CONFIG FILE ERROR")]
async fn a_server_that_does_not_start_panics_with_its_log() {
    RedisServer::builder().arg("no-such-option", "1").start().await;
}
