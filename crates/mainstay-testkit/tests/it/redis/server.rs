//! Promises of `RedisServer`.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use mainstay_testkit::redis::RedisServer;
use mainstay_testkit::worker::{Parent, Worker};
use mainstay_testkit::{eventually_async, program};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::process::Command;
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
async fn with_tls_a_client_that_trusts_the_authority_gets_an_answer() {
    let server = RedisServer::builder().tls().start().await;
    let ask = async |authority: &Path| {
        let mut client = Command::new(program("openssl", "openssl"))
            .args(["s_client", "-quiet", "-verify_return_error", "-verify_ip", "127.0.0.1", "-connect"])
            .arg(server.tls_address().to_string())
            .arg("-CAfile")
            .arg(authority)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        // An error means that the client has ended: it does not trust the server.
        let _ = client.stdin.as_mut().unwrap().write_all(b"PING\r\nquit\r\n").await;
        timeout(DEADLINE, client.wait_with_output()).await.unwrap().unwrap().stdout
    };
    assert_eq!(ask(&server.ca_certificate()).await, b"+PONG\r\n+OK\r\n");
    let other = RedisServer::builder().tls().start().await;
    assert_eq!(ask(&other.ca_certificate()).await, b"");
    assert_eq!(server.command(&["PING"]).await, "PONG");
}

#[tokio::test]
#[should_panic(expected = "FATAL CONFIG FILE ERROR")]
async fn a_server_that_does_not_start_panics_with_its_log() {
    RedisServer::builder().arg("no-such-option", "1").start().await;
}

/// A worker that dies without dropping its servers, one of them paused.
#[tokio::test]
#[ignore = "a worker of the test below"]
async fn holds_servers() {
    let Some(mut parent) = Parent::here() else { return };
    let servers = [RedisServer::start().await, RedisServer::start().await];
    for server in &servers {
        parent.say(&server.address().to_string());
        parent.say(server.command(&["CONFIG", "GET", "dir"]).await.split_once('\n').unwrap().1);
    }
    servers[0].pause();
    parent.say("ready");
    parent.order().await;
}

#[tokio::test]
async fn a_killed_test_leaves_no_server_and_no_directory_behind() {
    let mut worker = Worker::spawn("redis::server::holds_servers", &[]);
    let mut lines = Vec::new();
    for _ in 0..5 {
        lines.push(worker.line(DEADLINE).await.unwrap());
    }
    worker.kill();
    for server in lines.chunks_exact(2) {
        eventually_async("the server is gone", DEADLINE, async || {
            TcpStream::connect(&server[0]).await.is_err() && !Path::new(&server[1]).exists()
        })
        .await;
    }
}
