//! Promises of `http`, against a server that answers with fixed bytes.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::thread::JoinHandle;
use std::time::Duration;

use mainstay_testkit::eventually_async;
use mainstay_testkit::http::{Request, SlowClients, raw};

const DEADLINE: Duration = Duration::from_secs(30);

/// Takes one connection, reads until the request ends with `until`, answers, closes, and returns
/// what it has read.
fn serve(until: &'static str, answer: impl Into<Vec<u8>>) -> (SocketAddr, JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let answer = answer.into();
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = Vec::new();
        let mut byte = [0];
        while !request.ends_with(until.as_bytes()) && stream.read(&mut byte).unwrap() > 0 {
            request.push(byte[0]);
        }
        stream.write_all(&answer).unwrap();
        String::from_utf8(request).unwrap()
    });
    (addr, server)
}

#[tokio::test]
async fn a_request_is_sent_as_it_was_written() {
    let (addr, server) = serve("\r\n\r\n", "HTTP/1.1 204 No Content\r\n\r\n");
    Request::get(addr, "/a%2f..%2fb?x= y").header("X-Odd", "1").header("X-Odd", "2").send().await;
    assert_eq!(
        server.join().unwrap(),
        format!(
            "GET /a%2f..%2fb?x= y HTTP/1.1\r\nhost: {addr}\r\nconnection: close\r\nX-Odd: 1\r\nX-Odd: 2\r\n\r\n"
        )
    );
}

#[tokio::test]
async fn a_json_body_has_its_type_and_length() {
    let (addr, server) = serve("}", "HTTP/1.1 201 Created\r\nContent-Length: 9\r\n\r\n{\"id\":42}");
    let response = Request::post(addr, "/").json(&serde_json::json!({ "a": 1 })).send().await;
    let sent = server.join().unwrap();
    assert!(sent.contains("content-length: 7\r\n"), "{sent}");
    assert!(
        sent.contains("content-type: application/json\r\n") && sent.ends_with("\r\n\r\n{\"a\":1}"),
        "{sent}"
    );
    assert_eq!((response.status, response.json()["id"].as_u64()), (201, Some(42)));
}

#[tokio::test]
async fn headers_a_test_sets_replace_those_added_for_it() {
    let (addr, server) = serve("\r\n\r\n", "HTTP/1.1 204 No Content\r\n\r\n");
    let request = Request::post(addr, "/").header("Host", "evil").header("Connection", "keep-alive");
    request.header("Content-Length", "0").send().await;
    assert_eq!(
        server.join().unwrap(),
        "POST / HTTP/1.1\r\nHost: evil\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\n"
    );
}

#[tokio::test]
async fn chunks_are_joined() {
    let chunks = "4\r\nwiki\r\nA;ext=1\r\npedia\r\n\r\n!\r\n0\r\nx-trailer: 1\r\n\r\n";
    let (addr, _server) =
        serve("\r\n\r\n", format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}"));
    let response = Request::get(addr, "/").send().await;
    assert_eq!(response.text(), "wikipedia\r\n\r\n!");
}

#[tokio::test]
async fn a_body_without_length_ends_with_the_connection() {
    let (addr, _server) = serve("\r\n\r\n", "HTTP/1.1 200 OK\r\nX-A: 1\r\nX-A: 2\r\n\r\nall of it");
    let response = Request::get(addr, "/").send().await;
    assert_eq!(response.text(), "all of it");
    assert_eq!(response.header("X-a"), Some("1"));
    assert_eq!(response.headers, [("x-a".into(), "1".into()), ("x-a".into(), "2".into())]);
}

#[tokio::test]
async fn a_response_ends_where_its_framing_says_though_the_connection_stays_open() {
    for (method, answer) in [
        ("GET", "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"),
        ("HEAD", "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n"),
        ("GET", "HTTP/1.1 304 Not Modified\r\ncontent-length: 2\r\n\r\n"),
        ("GET", "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            stream.write_all(answer.as_bytes()).unwrap();
            // Until the client closes, or resets because it has not read everything.
            let _ = stream.read_to_end(&mut Vec::new());
        });
        let response = Request::new(method, addr, "/").send().await;
        assert_eq!(response.body.len(), if answer.ends_with("ok") { 2 } else { 0 }, "{answer}");
        server.join().unwrap();
    }
}

#[tokio::test]
async fn an_answer_before_the_body_was_read_is_seen() {
    let (addr, server) = serve("\r\n\r\n", "HTTP/1.1 413 Content Too Large\r\ncontent-length: 0\r\n\r\n");
    let response = Request::post(addr, "/").body(vec![b'x'; 64 << 20]).send().await;
    assert_eq!(response.status, 413);
    server.join().unwrap();
}

#[tokio::test]
async fn what_is_not_a_whole_response_is_an_error() {
    for (answer, kind) in [
        ("", ErrorKind::UnexpectedEof),
        ("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf", ErrorKind::UnexpectedEof),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nwiki\r\n", ErrorKind::UnexpectedEof),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nwiki\r\n", ErrorKind::InvalidData),
        ("HTTP/1.1 200 OK\r\ncontent-length: many\r\n\r\n", ErrorKind::InvalidData),
        ("SSH-2.0-OpenSSH\r\n", ErrorKind::InvalidData),
    ] {
        let (addr, _server) = serve("\r\n\r\n", answer);
        let error = Request::get(addr, "/").try_send().await.unwrap_err();
        assert_eq!(error.kind(), kind, "{answer}: {error}");
    }
}

#[tokio::test]
async fn a_server_that_never_answers_costs_the_deadline_only() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let error = Request::get(addr, "/").deadline(Duration::from_millis(10)).try_send().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut);
}

#[tokio::test]
async fn a_server_that_is_gone_is_an_error() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    drop(listener);
    assert_eq!(Request::get(addr, "/").try_send().await.unwrap_err().kind(), ErrorKind::ConnectionRefused);
}

#[tokio::test]
async fn raw_bytes_go_out_and_come_back_unchanged() {
    let (addr, server) = serve("bad\n", "\0not http");
    assert_eq!(raw(addr, b"\tbad\n").await, b"\0not http");
    assert_eq!(server.join().unwrap(), "\tbad\n");
}

#[tokio::test]
async fn slow_clients_stay_until_the_server_closes_them() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut slow = SlowClients::open(listener.local_addr().unwrap(), 3, b"G").await;
    let mut accepted: Vec<_> = (0..3).map(|_| listener.accept().unwrap().0).collect();
    for stream in &mut accepted {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        assert_eq!(&byte, b"G");
    }
    accepted[0].write_all(b"HTTP/1.1 408 Request Timeout\r\n\r\n").unwrap();
    accepted.truncate(1);
    eventually_async("two are closed", DEADLINE, async || slow.still_open() == 1).await;
    accepted.clear();
    eventually_async("all are closed", DEADLINE, async || slow.still_open() == 0).await;
}
