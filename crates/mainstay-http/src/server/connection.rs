use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::response::Response;
use http::{HeaderValue, Version, header};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;
use tokio_util::either::Either;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use super::activity::Activity;
use super::stream::Watched;
use super::tls::{Encrypted, Tls};
use super::{Host, Limits, Reason, upload};

/// Fields of a head; then `431`. hyper holds to it what it reads itself, [`crate::layer`] what comes by HTTP/2.
pub(crate) const MAX_HEADERS: usize = 100;
/// Read buffer of a connection, which bounds the request head: 32 KiB, then `431`.
const MAX_HEAD_BYTES: u32 = 32 * 1024;

/// Requests of an HTTP/2 client that it took back before we looked at them; then `GOAWAY`.
const MAX_PENDING_RESETS: usize = 20;
/// Requests that we had to reset because the client broke the protocol (CVE-2025-8671); then `GOAWAY`.
const MAX_ERROR_RESETS: usize = 100;
/// What a client may send of one body, and of all, before somebody reads it.
const STREAM_WINDOW: u32 = 128 * 1024;
const CONNECTION_WINDOW: u32 = 256 * 1024;
/// What is kept of an answer until the client takes it.
const SEND_BUFFER: usize = 64 * 1024;
/// A client that is gone without a word is found out within the sum of the two.
const PING_INTERVAL: Duration = Duration::from_secs(20);
const PING_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a connection is kept when the drain begins and no request is in flight: one may be on its
/// way, the first of a connection accepted just before or the next of one that is kept alive.
const LAST_CALL: Duration = Duration::from_millis(500);

/// Where a request came from; an extension of every request.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Connection {
    /// The other end of the socket: the client, or the proxy before it.
    pub peer: SocketAddr,
    /// The address the listener was opened on.
    pub bound: SocketAddr,
}

/// Two ways to end connections: after their request, or now.
#[derive(Debug, Clone)]
pub(super) struct Switches {
    pub(super) drain: CancellationToken,
    pub(super) close: CancellationToken,
}

/// Takes a connection in, and serves it until it ends: why, if it was the client that did wrong.
pub(super) async fn accept(
    host: Arc<Host>,
    stream: TcpStream,
    tls: Option<Tls>,
    connection: Connection,
    routes: Router,
    switches: Switches,
) -> Option<Reason> {
    // Responses are written whole; waiting for more would only add delay.
    let _ = stream.set_nodelay(true);
    let Some(tls) = tls else {
        return serve(host, Either::Left(stream), connection, routes, switches).await;
    };
    let handshake = tokio::time::timeout(host.limits.load().handshake_timeout, tls.accept(stream));
    let shaken = tokio::select! {
    shaken = handshake => shaken.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())),
            () = switches.close.cancelled() => return None,
            () = async {
                switches.drain.cancelled().await;
                tokio::time::sleep(LAST_CALL).await;
            } => return None,
        };
    match shaken {
        Ok(stream) => serve(host, Either::Right(Box::new(stream)), connection, routes, switches).await,
        Err(error) => {
            // Who just looks whether the port is open, as load balancers do, was ended by nobody.
            let left = matches!(error.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset);
            let reason = (!left).then_some(Reason::Handshake);
            reason.inspect(|reason| host.metrics.connection_ended(*reason));
            tracing::debug!(peer = %connection.peer, %error, "no TLS handshake");
            reason
        }
    }
}

/// Boxed, because it is several times as large as a socket.
type Stream = Either<TcpStream, Box<TlsStream<TcpStream>>>;

/// Serves HTTP/1.1 and HTTP/2 until the client leaves, goes beyond a limit, or a switch is thrown.
async fn serve(
    host: Arc<Host>,
    stream: Stream,
    connection: Connection,
    routes: Router,
    switches: Switches,
) -> Option<Reason> {
    let encrypted = matches!(stream, Either::Right(_));
    let limits = host.limits.load_full();
    let activity = Activity::new();
    // HTTP/1.1 clients are told to leave with the answer they get; HTTP/2 has `GOAWAY` for that.
    let last_answer = Arc::new(AtomicBool::new(false));
    let service = {
        let (host, activity, last_answer) =
            (Arc::clone(&host), Arc::clone(&activity), Arc::clone(&last_answer));
        let limits = Arc::clone(&limits);
        hyper::service::service_fn(move |mut request: hyper::Request<Incoming>| {
            let http2 = request.version() == Version::HTTP_2;
            let open = activity.request(http2);
            request.extensions_mut().insert(connection);
            if encrypted {
                request.extensions_mut().insert(Encrypted);
            }
            let answer = routes.clone().oneshot(upload::paced(request, &host, &limits));
            let last_answer = Arc::clone(&last_answer);
            async move {
                let mut response: Response = answer.await.unwrap_or_else(|never| match never {});
                if !http2 && last_answer.load(Ordering::Relaxed) {
                    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
                }
                Ok::<_, Infallible>(response.map(|body| open.answer(body)))
            }
        })
    };
    let builder = builder(&limits);
    let io = TokioIo::new(Watched::new(stream, Arc::clone(&activity), &limits));
    let mut served = pin!(builder.serve_connection(io, service));

    let mut look = pin!(tokio::time::sleep(limits.shortest()));
    let mut last_call = pin!(tokio::time::sleep(LAST_CALL));
    let (mut draining, mut leaving) = (false, false);
    loop {
        let verdict = tokio::select! {
            result = served.as_mut() => {
                let error = result.err()?;
                let reason = activity.blame(&*error);
                reason.inspect(|reason| host.metrics.connection_ended(*reason));
                tracing::debug!(peer = %connection.peer, %error, ?reason, "connection ended early");
                return reason;
            }
            () = switches.close.cancelled() => return None,
            () = switches.drain.cancelled(), if !draining => {
                draining = true;
                last_answer.store(true, Ordering::Relaxed);
                last_call.as_mut().reset(tokio::time::Instant::now() + LAST_CALL);
                continue;
            }
            () = last_call.as_mut(), if draining && !leaving => {
                leaving = true;
                activity.leave();
                served.as_mut().graceful_shutdown();
                continue;
            }
            () = look.as_mut() => activity.judge(&limits),
            () = activity.alarmed() => activity.judge(&limits),
        };
        match verdict {
            Ok(next) => look.as_mut().reset(next),
            // Between two requests nobody did wrong: the client is told, and gets as long again to go.
            Err(Reason::Idle) if !leaving => {
                host.metrics.connection_ended(Reason::Idle);
                leaving = true;
                activity.leave();
                served.as_mut().graceful_shutdown();
                look.as_mut().reset(tokio::time::Instant::now() + limits.header_timeout);
            }
            Err(reason) => {
                if !leaving {
                    host.metrics.connection_ended(reason);
                }
                tracing::debug!(peer = %connection.peer, ?reason, "connection closed");
                return Some(reason);
            }
        }
    }
}

fn builder(limits: &Limits) -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        // [`Activity`] has the limits.
        .header_read_timeout(None)
        .max_headers(MAX_HEADERS)
        .max_buf_size(MAX_HEAD_BYTES as usize);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.max_streams)
        .max_header_list_size(MAX_HEAD_BYTES)
        .max_pending_accept_reset_streams(MAX_PENDING_RESETS)
        .max_local_error_reset_streams(MAX_ERROR_RESETS)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buf_size(SEND_BUFFER)
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT);
    builder
}
