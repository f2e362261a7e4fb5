//! What answers is no Redis, or not a well-behaved one.

use std::net::SocketAddr;

use mainstay_core::secret::Secret;
use mainstay_redis::CallError;
use mainstay_testkit::redis::RedisServer;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::time::{Instant, timeout};

use super::*;

/// Answers whatever it hears with these bytes.
async fn impostor(answer: Vec<u8>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let here = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let answer = answer.clone();
            tokio::spawn(async move {
                let mut bytes = [0; 4096];
                while let Ok(1..) = stream.read(&mut bytes).await {
                    let _closed = stream.write_all(&answer).await;
                }
            });
        }
    });
    here
}

#[tokio::test]
async fn whatever_answers_instead_of_redis_is_refused_and_delays_no_call() {
    let answers = [
        b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n".to_vec(),
        b"\x16\x03\x01\xff\xfe\r\n".to_vec(),
        b"+OK\r\n".to_vec(),
        b"*-1\r\n".to_vec(),
        b"%-1\r\n".to_vec(),
        b"=-5\r\n".to_vec(),
        b"$9223372036854775807\r\n".to_vec(),
        b"*9223372036854775807\r\n".to_vec(),
        b"|9223372036854775807\r\n".to_vec(),
        b"*2147483647\r\n".repeat(200),
        b">1\r\n:1\r\n".to_vec(),
        [b"+".to_vec(), vec![b'x'; 1 << 20]].concat(),
    ];
    for answer in answers {
        let shown = String::from_utf8_lossy(&answer[..answer.len().min(40)]).into_owned();
        let mut options = options(impostor(answer).await);
        options.connect_timeout = Duration::from_millis(200);
        let redis = open(options);
        let told = async || server(&redis).last_error.is_some();
        eventually_async("the refusal is told", SOON, told).await;
        let call = timeout(SOON, redis.call(incr("ms:n"))).await.expect("a call ends");
        assert!(matches!(call, Err(CallError::NotSent { .. })), "{shown}: {call:?}");
        redis.stop(SOON).await.unwrap();
    }
}

#[tokio::test]
async fn a_server_that_repeats_what_it_was_sent_does_not_get_the_password_shown() {
    // Such a server says which command it does not know, and with which words.
    let server = RedisServer::builder().arg("rename-command", "HELLO \"\"").start().await;
    let mut options = options(server.address());
    options.password = Some(Secret::new("right-secret".into()));
    let redis = open(options);
    refused(&redis, "unknown command").await;
    assert!(!format!("{:?}", redis.status()).contains("secret"), "{:?}", redis.status());
}

#[tokio::test]
async fn a_name_that_cannot_be_looked_up_is_told_and_delays_no_call() {
    let redis = open(Options::new(Deployment::Standalone(Address::new("no-such-host.invalid", 6379))));
    refused(&redis, "no connection").await;
    let begun = Instant::now();
    let fails = async || {
        let begun = Instant::now();
        let call = redis.call(incr("ms:n")).await;
        matches!(call, Err(CallError::NotSent { .. })) && begun.elapsed() < Duration::from_millis(5)
    };
    eventually_async("calls fail at once", SOON, fails).await;
    assert!(begun.elapsed() < Duration::from_secs(1));
}
