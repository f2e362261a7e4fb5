//! Promises of `Proxy`: what each fault lets through, and what it does not.

use std::io::ErrorKind;
use std::time::Duration;

use mainstay_testkit::eventually_async;
use mainstay_testkit::redis::{Proxy, RedisServer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

const DEADLINE: Duration = Duration::from_secs(30);

/// Long enough for an answer over loopback, were one to come.
const SILENCE: Duration = Duration::from_millis(100);

async fn rig() -> (RedisServer, Proxy) {
    let server = RedisServer::start().await;
    let proxy = Proxy::start(server.address()).await;
    (server, proxy)
}

async fn connect(proxy: &Proxy) -> TcpStream {
    let client = TcpStream::connect(proxy.address()).await.unwrap();
    client.set_nodelay(true).unwrap();
    client
}

/// Sends a line and expects an answer.
async fn expect(client: &mut TcpStream, request: &str, answer: &str) {
    client.write_all(request.as_bytes()).await.unwrap();
    let mut bytes = vec![0; answer.len()];
    timeout(DEADLINE, client.read_exact(&mut bytes)).await.unwrap().unwrap();
    assert_eq!(String::from_utf8(bytes).unwrap(), answer);
}

/// Everything up to the reset.
async fn until_reset(client: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    let error = timeout(DEADLINE, client.read_to_end(&mut bytes)).await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    bytes
}

async fn silent(client: &mut TcpStream) {
    assert!(timeout(SILENCE, client.read_u8()).await.is_err());
}

#[tokio::test]
async fn without_a_fault_bytes_and_ends_pass_in_both_directions() {
    let (server, proxy) = rig().await;
    let mut client = connect(&proxy).await;
    expect(&mut client, "ECHO hello\r\n", "$5\r\nhello\r\n").await;
    assert_eq!(proxy.connections(), 1);

    let big = "x".repeat(1 << 20);
    let request = format!("*2\r\n$4\r\nECHO\r\n${}\r\n{big}\r\n", big.len());
    let answer = format!("${}\r\n{big}\r\n", big.len());
    let (mut read, mut write) = client.split();
    let mut bytes = vec![0; answer.len()];
    let (sent, got) = tokio::join!(write.write_all(request.as_bytes()), read.read_exact(&mut bytes));
    assert!(sent.is_ok() && got.is_ok() && bytes == answer.as_bytes());

    write.write_all(b"QUIT\r\n").await.unwrap();
    let mut rest = Vec::new();
    timeout(DEADLINE, read.read_to_end(&mut rest)).await.unwrap().unwrap();
    assert_eq!(rest, b"+OK\r\n");
    drop(client);
    eventually_async("it is gone", DEADLINE, async || proxy.connections() == 0).await;
    assert_eq!(server.command(&["PING"]).await, "PONG");
}

#[tokio::test]
async fn a_blackhole_holds_both_directions_and_loses_nothing() {
    let (server, proxy) = rig().await;
    let mut client = connect(&proxy).await;
    expect(&mut client, "PING\r\n", "+PONG\r\n").await;

    proxy.blackhole();
    client.write_all(b"INCR counter\r\n").await.unwrap();
    silent(&mut client).await;
    let mut newcomer = connect(&proxy).await;
    newcomer.write_all(b"PING\r\n").await.unwrap();
    silent(&mut newcomer).await;
    assert_eq!(server.command(&["EXISTS", "counter"]).await, "0");

    proxy.pass();
    expect(&mut client, "", ":1\r\n").await;
    expect(&mut newcomer, "", "+PONG\r\n").await;
}

#[tokio::test]
async fn a_blackhole_holds_the_replies_of_requests_that_passed_before_it() {
    let (server, proxy) = rig().await;
    let mut client = connect(&proxy).await;
    client.write_all(b"BLPOP list 0\r\n").await.unwrap();
    eventually_async("it waits", DEADLINE, async || {
        server.command(&["INFO", "clients"]).await.contains("blocked_clients:1")
    })
    .await;
    proxy.blackhole();
    server.command(&["RPUSH", "list", "value"]).await;
    silent(&mut client).await;
    proxy.pass();
    expect(&mut client, "", "*2\r\n$4\r\nlist\r\n$5\r\nvalue\r\n").await;
}

#[tokio::test]
async fn refusing_resets_who_is_there_and_who_comes() {
    let (_server, proxy) = rig().await;
    let mut client = connect(&proxy).await;
    expect(&mut client, "PING\r\n", "+PONG\r\n").await;
    proxy.refuse();
    assert!(until_reset(&mut client).await.is_empty());
    assert!(until_reset(&mut connect(&proxy).await).await.is_empty());
    proxy.pass();
    expect(&mut connect(&proxy).await, "PING\r\n", "+PONG\r\n").await;
}

#[tokio::test]
async fn a_cut_resets_who_is_there_and_lets_newcomers_in() {
    let (_server, proxy) = rig().await;
    let mut clients = [connect(&proxy).await, connect(&proxy).await];
    for client in &mut clients {
        expect(client, "PING\r\n", "+PONG\r\n").await;
    }
    proxy.cut();
    for client in &mut clients {
        until_reset(client).await;
    }
    expect(&mut connect(&proxy).await, "PING\r\n", "+PONG\r\n").await;
    assert_eq!(proxy.connections(), 1);
}

#[tokio::test]
async fn a_delay_is_added_in_each_direction() {
    let (_server, proxy) = rig().await;
    let mut client = connect(&proxy).await;
    expect(&mut client, "PING\r\n", "+PONG\r\n").await;
    let delay = Duration::from_millis(50);
    proxy.delay(delay);
    let started = Instant::now();
    expect(&mut client, "PING\r\n", "+PONG\r\n").await;
    assert!(started.elapsed() >= 2 * delay);
}

#[tokio::test]
async fn the_nth_request_is_done_and_its_reply_is_lost() {
    let (server, proxy) = rig().await;
    // Two bytes at a time: requests are found however they arrive.
    for split in [None, Some(2)] {
        server.command(&["SET", "counter", "0"]).await;
        if let Some(bytes) = split {
            proxy.split_every(bytes);
        }
        let mut bystander = connect(&proxy).await;
        expect(&mut bystander, "PING\r\n", "+PONG\r\n").await;
        let mut client = connect(&proxy).await;
        expect(&mut client, "INCR counter\r\n", ":1\r\n").await;
        proxy.cut_after_request(3);
        expect(&mut client, "*2\r\n$4\r\nINCR\r\n$7\r\ncounter\r\n", ":2\r\n").await;
        expect(&mut client, "INCR counter\r\n", ":3\r\n").await;
        client.write_all("*2\r\n$4\r\nINCR\r\n$7\r\ncounter\r\n".repeat(2).as_bytes()).await.unwrap();
        assert!(until_reset(&mut client).await.is_empty());
        assert_eq!(server.command(&["GET", "counter"]).await, "4", "the third from then, and no fourth");
        expect(&mut bystander, "INCR counter\r\n", ":5\r\n").await;
    }
}

#[tokio::test]
async fn dropped_replies_never_come_and_the_connection_does_not_survive_them() {
    let (server, proxy) = rig().await;
    let mut client = connect(&proxy).await;
    let mut quiet = connect(&proxy).await;
    expect(&mut quiet, "PING\r\n", "+PONG\r\n").await;
    proxy.drop_replies();
    client.write_all(b"INCR counter\r\n").await.unwrap();
    eventually_async("it is done", DEADLINE, async || server.command(&["GET", "counter"]).await == "1").await;
    silent(&mut client).await;
    proxy.pass();
    assert!(until_reset(&mut client).await.is_empty());
    expect(&mut quiet, "INCR counter\r\n", ":2\r\n").await;
}

#[tokio::test]
async fn split_bytes_arrive_in_order_and_in_many_pieces() {
    let (_server, proxy) = rig().await;
    let mut client = connect(&proxy).await;
    proxy.split_every(1);
    let text = "0123456789".repeat(10);
    client.write_all(format!("ECHO {text}\r\n").as_bytes()).await.unwrap();
    let answer = format!("$100\r\n{text}\r\n");
    let (mut got, mut pieces) = (Vec::new(), 0);
    while got.len() < answer.len() {
        let mut bytes = [0; 1024];
        let read = timeout(DEADLINE, client.read(&mut bytes)).await.unwrap().unwrap();
        got.extend_from_slice(&bytes[..read]);
        pieces += 1;
    }
    assert_eq!(String::from_utf8(got).unwrap(), answer);
    assert!(pieces > 10, "{pieces}");
}

#[tokio::test]
async fn a_reply_is_cut_at_the_given_byte() {
    let (_server, proxy) = rig().await;
    for bytes in 0.."+PONG\r\n".len() {
        let mut client = connect(&proxy).await;
        proxy.cut_reply_after(bytes);
        client.write_all(b"PING\r\n").await.unwrap();
        assert_eq!(until_reset(&mut client).await, b"+PONG\r\n"[..bytes]);
    }
    let mut client = connect(&proxy).await;
    proxy.cut_reply_after("+PONG\r\n".len());
    expect(&mut client, "PING\r\n", "+PONG\r\n").await;
    client.write_all(b"PING\r\n").await.unwrap();
    assert!(until_reset(&mut client).await.is_empty());
}

#[tokio::test]
async fn a_retarget_moves_newcomers_only() {
    let (first, proxy) = rig().await;
    let second = RedisServer::start().await;
    first.command(&["SET", "name", "one"]).await;
    second.command(&["SET", "name", "two"]).await;
    let mut client = connect(&proxy).await;
    expect(&mut client, "GET name\r\n", "$3\r\none\r\n").await;
    proxy.retarget(second.address());
    expect(&mut client, "GET name\r\n", "$3\r\none\r\n").await;
    expect(&mut connect(&proxy).await, "GET name\r\n", "$3\r\ntwo\r\n").await;
}

#[tokio::test]
async fn a_dead_server_shows_as_a_reset_and_a_dropped_proxy_is_gone() {
    let (mut server, proxy) = rig().await;
    let mut client = connect(&proxy).await;
    expect(&mut client, "PING\r\n", "+PONG\r\n").await;
    server.kill();
    until_reset(&mut connect(&proxy).await).await;
    let mut rest = Vec::new();
    // An end or a reset, as the kernel tells it of the killed process.
    let _ = timeout(DEADLINE, client.read_to_end(&mut rest)).await.unwrap();
    assert!(rest.is_empty());

    let address = proxy.address();
    drop(proxy);
    eventually_async("nobody listens", DEADLINE, async || TcpStream::connect(address).await.is_err()).await;
}
