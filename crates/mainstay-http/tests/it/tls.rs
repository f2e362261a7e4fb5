//! Encrypted listeners: what they speak, and certificates that change, well or badly.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use http_body_util::BodyExt;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use mainstay_core::metrics::Metrics;
use mainstay_http::{Host, Limits, Listening, ProbeError, Tls, probe_own};
use mainstay_testkit::eventually_async;
use mainstay_testkit::http::SlowClients;
use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::TestHost;

const PATIENCE: Duration = Duration::from_secs(20);
const GET: &[u8] = b"GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";

/// A certificate for `localhost` that ends with `year`.
struct Issued {
    certificate: rcgen::Certificate,
    key: KeyPair,
}

impl Issued {
    fn until(year: i32) -> Self {
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        params.not_after = date_time_ymd(year, 1, 1);
        let key = KeyPair::generate().unwrap();
        Self { certificate: params.self_signed(&key).unwrap(), key }
    }
}

/// A server that speaks TLS, and the files of its certificate.
struct Server {
    server: TestHost,
    tls: Tls,
    directory: TempDir,
}

impl Server {
    async fn start(issued: &Issued, change: impl FnOnce(&mut Limits)) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let files = [directory.path().join("tls.crt"), directory.path().join("tls.key")];
        std::fs::write(&files[0], issued.certificate.pem()).unwrap();
        std::fs::write(&files[1], issued.key.serialize_pem()).unwrap();
        let [certificate, key] = files;
        let metrics = Metrics::new();
        let tls = Tls::open(certificate, key, &metrics).await.unwrap();
        let mut limits = Limits::default();
        change(&mut limits);
        let host = Host::new(&metrics, limits);
        let routes = host.wrap(Router::new().route("/", get(async || "hello")));
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let listening: Listening = host.listen_tls(any, routes, tls.clone()).await.unwrap();
        Self { server: TestHost { host, metrics, listening }, tls, directory }
    }

    fn addr(&self) -> SocketAddr {
        self.server.addr()
    }

    fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }
}

async fn connect(addr: SocketAddr, trusted: &Issued, alpn: &[u8]) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from(trusted.certificate.der().to_vec())).unwrap();
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![alpn.to_vec()];
    let stream = TcpStream::connect(addr).await.unwrap();
    TlsConnector::from(Arc::new(config)).connect("localhost".try_into().unwrap(), stream).await
}

/// The answer to a request over HTTP/1.1.
async fn ask(addr: SocketAddr, trusted: &Issued) -> std::io::Result<String> {
    let mut stream = connect(addr, trusted, b"http/1.1").await?;
    stream.write_all(GET).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}

#[tokio::test]
async fn both_versions_of_http_are_spoken_and_browsers_are_bound_to_tls() {
    let issued = Issued::until(2099);
    let server = Server::start(&issued, |limits| limits.hsts_max_age = Duration::from_secs(3600)).await;
    let answer = ask(server.addr(), &issued).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("hello"), "{answer}");
    assert!(answer.contains("strict-transport-security: max-age=3600\r\n"), "{answer}");

    let stream = connect(server.addr(), &issued, b"h2").await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let (mut client, connection) =
        http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    let connection = tokio::spawn(connection);
    let request = http::Request::get("https://localhost/").body(Body::empty()).unwrap();
    let response = client.send_request(request).await.unwrap();
    assert_eq!(response.version(), http::Version::HTTP_2);
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "hello");
    drop(client);
    connection.await.unwrap().unwrap();
}

#[tokio::test]
async fn nobody_is_bound_to_tls_without_it_or_against_the_configuration() {
    let issued = Issued::until(2099);
    let server = Server::start(&issued, |_| {}).await;
    let answer = ask(server.addr(), &issued).await.unwrap();
    assert!(!answer.contains("strict-transport-security"), "{answer}");

    let mut limits = Limits::default();
    limits.hsts_max_age = Duration::from_secs(3600);
    let plain = TestHost::with_limits(Router::new().route("/", get(async || "hello")), limits).await;
    let answer = mainstay_testkit::http::Request::get(plain.addr(), "/").send().await;
    assert_eq!(answer.header("strict-transport-security"), None);
}

#[tokio::test]
async fn a_new_pair_is_used_for_new_connections_and_open_ones_go_on() {
    let (old, new) = (Issued::until(2040), Issued::until(2050));
    let server = Server::start(&old, |_| {}).await;
    let expiry = |year: i32| date_time_ymd(year, 1, 1).unix_timestamp().unsigned_abs();
    assert_eq!(server.server.count("tls_certificate_expiry_timestamp_seconds"), expiry(2040));
    assert!(!server.tls.reload().await.unwrap(), "nothing has changed");

    let mut kept = connect(server.addr(), &old, b"http/1.1").await.unwrap();
    std::fs::write(server.file("tls.crt"), new.certificate.pem()).unwrap();
    std::fs::write(server.file("tls.key"), new.key.serialize_pem()).unwrap();
    assert!(server.tls.reload().await.unwrap());

    assert!(ask(server.addr(), &old).await.is_err(), "the old certificate is no longer shown");
    assert!(ask(server.addr(), &new).await.unwrap().starts_with("HTTP/1.1 200 "));
    kept.write_all(GET).await.unwrap();
    let mut answer = String::new();
    kept.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert_eq!(server.server.count("tls_certificate_expiry_timestamp_seconds"), expiry(2050));
    assert_eq!(server.server.count(r#"tls_certificate_reloads_total{result="ok"}"#), 1);
}

#[tokio::test]
async fn a_pair_that_cannot_be_used_keeps_the_old_one_and_is_told_once() {
    let (old, new) = (Issued::until(2040), Issued::until(2050));
    let server = Server::start(&old, |_| {}).await;
    let (certificate, key) = (server.file("tls.crt"), server.file("tls.key"));
    let mut failed = 0;
    let secret = new.key.serialize_pem();
    let long = "x".repeat((1 << 20) + 1);
    for (file, content) in [
        (&certificate, Some(new.certificate.pem())),
        (&certificate, Some(String::new())),
        (&certificate, Some("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".to_owned())),
        (&certificate, Some(long)),
        (&certificate, None),
        (&key, Some("secret-but-not-a-key".to_owned())),
        (&key, Some(secret.replace('A', "B"))),
        (&key, Some(new.certificate.pem())),
        (&key, None),
    ] {
        std::fs::write(&certificate, old.certificate.pem()).unwrap();
        std::fs::write(&key, old.key.serialize_pem()).unwrap();
        server.tls.reload().await.unwrap();
        match content {
            Some(content) => std::fs::write(file, content).unwrap(),
            None => std::fs::remove_file(file).unwrap(),
        }
        let error = server.tls.reload().await.unwrap_err().to_string();
        failed += 1;
        assert!(error.contains(directory_of(file)) && !error.contains("secret-but-not-a-key"), "{error}");
        assert!(!server.tls.reload().await.unwrap(), "{error}: told once");
        assert_eq!(server.server.count(r#"tls_certificate_reloads_total{result="failed"}"#), failed);
        assert!(ask(server.addr(), &old).await.unwrap().starts_with("HTTP/1.1 200 "), "{error}");
    }
    // Half of a change that goes on.
    std::fs::write(&certificate, new.certificate.pem()).unwrap();
    std::fs::write(&key, old.key.serialize_pem()).unwrap();
    server.tls.reload().await.unwrap_err();
    std::fs::write(&key, secret).unwrap();
    assert!(server.tls.reload().await.unwrap());
    assert!(ask(server.addr(), &new).await.unwrap().starts_with("HTTP/1.1 200 "));
}

fn directory_of(file: &std::path::Path) -> &str {
    file.parent().unwrap().to_str().unwrap()
}

#[tokio::test]
async fn a_server_does_not_start_on_a_pair_that_cannot_be_used() {
    let (one, other) = (Issued::until(2040), Issued::until(2050));
    let directory = tempfile::tempdir().unwrap();
    let (certificate, key) = (directory.path().join("a"), directory.path().join("b"));
    let error = Tls::open(&certificate, &key, &Metrics::new()).await.unwrap_err().to_string();
    assert!(error.contains(certificate.to_str().unwrap()), "{error}");
    std::fs::write(&certificate, one.certificate.pem()).unwrap();
    std::fs::write(&key, other.key.serialize_pem()).unwrap();
    let error = Tls::open(&certificate, &key, &Metrics::new()).await.unwrap_err().to_string();
    assert!(error.contains(key.to_str().unwrap()) && error.contains("does not fit"), "{error}");
}

#[tokio::test]
async fn a_client_that_does_not_shake_hands_is_closed_and_counted() {
    let issued = Issued::until(2099);
    let server = Server::start(&issued, |limits| limits.handshake_timeout = Duration::from_millis(100)).await;
    let mut silent = SlowClients::open(server.addr(), 20, b"").await;
    // The beginning of a hello that promises 512 bytes.
    let mut begun = SlowClients::open(server.addr(), 20, b"\x16\x03\x01\x02\x00\x01").await;
    let mut plain = SlowClients::open(server.addr(), 20, GET).await;
    eventually_async("all are closed", PATIENCE, async || {
        silent.still_open() + begun.still_open() + plain.still_open() == 0
    })
    .await;
    eventually_async("all are counted", PATIENCE, async || {
        server.server.count(r#"http_connections_ended_total{reason="handshake"}"#) == 60
    })
    .await;
    assert!(ask(server.addr(), &issued).await.unwrap().starts_with("HTTP/1.1 200 "));
}

#[tokio::test]
async fn a_client_that_only_looks_whether_the_port_is_open_is_none_that_was_ended() {
    let issued = Issued::until(2099);
    let server = Server::start(&issued, |_| {}).await;
    for _ in 0..20 {
        drop(TcpStream::connect(server.addr()).await.unwrap());
    }
    // Accepted after all of them.
    assert!(ask(server.addr(), &issued).await.unwrap().starts_with("HTTP/1.1 200 "));
    eventually_async("all are gone", PATIENCE, async || server.server.count("http_connections") == 0).await;
    assert_eq!(server.server.count(r#"http_connections_ended_total{reason="handshake"}"#), 0);
}

#[tokio::test]
async fn limits_hold_inside_of_tls_too() {
    let issued = Issued::until(2099);
    let server = Server::start(&issued, |limits| limits.header_timeout = Duration::from_millis(100)).await;
    let mut silent = connect(server.addr(), &issued, b"http/1.1").await.unwrap();
    let mut half = connect(server.addr(), &issued, b"h2").await.unwrap();
    half.write_all(b"PRI * HTTP/2.0\r\n").await.unwrap();
    for stream in [&mut silent, &mut half] {
        let read = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut Vec::new())).await;
        read.expect("the server should close the connection").ok();
    }
    assert_eq!(server.server.count(r#"http_connections_ended_total{reason="first_byte"}"#), 1);
    assert_eq!(server.server.count(r#"http_connections_ended_total{reason="header"}"#), 1);
}

#[tokio::test]
async fn the_service_itself_is_asked_whomever_its_certificate_names() {
    let server = Server::start(&Issued::until(2099), |_| {}).await;
    assert_eq!(probe_own(server.addr(), true, "/", PATIENCE).await.unwrap(), b"hello");
    assert!(matches!(probe_own(server.addr(), true, "/no", PATIENCE).await, Err(ProbeError::Status(_))));
    assert!(matches!(probe_own(server.addr(), false, "/", PATIENCE).await, Err(ProbeError::NoAnswer(_))));
}

#[tokio::test]
async fn an_encrypted_listener_drains_like_any_other() {
    let issued = Issued::until(2099);
    let server = Server::start(&issued, |_| {}).await;
    let _idle = connect(server.addr(), &issued, b"h2").await.unwrap();
    let _shaking = TcpStream::connect(server.addr()).await.unwrap();
    let mut busy = connect(server.addr(), &issued, b"http/1.1").await.unwrap();
    busy.write_all(GET).await.unwrap();
    server.server.listening.drain(PATIENCE).await.unwrap();
    let mut answer = String::new();
    busy.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
}
