use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::response::Response;
use http::{HeaderValue, Version, header};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use super::Host;
use super::turns::Turns;
use super::write_limit::WriteLimit;

const MAX_HEADERS: usize = 100;
/// Read buffer of a connection, which bounds the request head: 32 KiB, then `431`.
const MAX_HEAD_BYTES: usize = 32 * 1024;
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

/// What the loop and the requests of one connection tell each other.
#[derive(Default)]
struct State {
    /// The first request has come.
    greeted: AtomicBool,
    /// HTTP/1.1 clients are told to leave with the answer they get; HTTP/2 has `GOAWAY` for that.
    draining: AtomicBool,
    turns: Arc<Turns>,
}

/// Serves HTTP/1.1 and HTTP/2 (prior knowledge) until the client leaves or a switch is thrown.
pub(super) async fn serve(
    host: Arc<Host>,
    stream: TcpStream,
    connection: Connection,
    routes: Router,
    switches: Switches,
) {
    // Responses are written whole; waiting for more would only add delay.
    let _ = stream.set_nodelay(true);
    let (header_timeout, request_timeout) = {
        let limits = host.limits.load();
        (limits.header_timeout, limits.request_timeout)
    };
    let state = Arc::new(State::default());
    let service = {
        let state = Arc::clone(&state);
        hyper::service::service_fn(move |mut request: hyper::Request<Incoming>| {
            state.greeted.store(true, Ordering::Relaxed);
            request.extensions_mut().insert(connection);
            let http2 = request.version() == Version::HTTP_2;
            let turn = http2.then(|| state.turns.take());
            let answer = routes.clone().oneshot(request.map(axum::body::Body::new) as Request);
            let state = Arc::clone(&state);
            async move {
                let mut response: Response = answer.await.unwrap_or_else(|never| match never {});
                if let Some(turn) = turn {
                    response = response.map(|body| turn.answer(body));
                } else if state.draining.load(Ordering::Relaxed) {
                    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
                }
                Ok::<_, Infallible>(response)
            }
        })
    };
    let builder = builder(header_timeout);
    let mut served =
        pin!(builder.serve_connection(TokioIo::new(WriteLimit::new(stream, request_timeout)), service));

    // hyper's own header timer starts once it knows the protocol version, so a client that sends one
    // byte and waits would be kept for ever: the first head has a deadline of its own.
    let mut first_head = pin!(tokio::time::sleep(header_timeout));
    let mut first_head_due = true;
    let mut last_call = pin!(tokio::time::sleep(LAST_CALL));
    let (mut draining, mut leaving) = (false, false);
    let mut client_idle = pin!(tokio::time::sleep(request_timeout));
    let mut seen = 0;
    loop {
        tokio::select! {
            result = served.as_mut() => {
                if let Err(error) = result {
                    tracing::debug!(peer = %connection.peer, error = %error, "connection ended early");
                }
                return;
            }
            () = switches.close.cancelled() => return,
            () = first_head.as_mut(), if first_head_due => {
                first_head_due = false;
                if !state.greeted.load(Ordering::Relaxed) {
                    tracing::debug!(peer = %connection.peer, "no request head in time; connection closed");
                    return;
                }
            }
            () = switches.drain.cancelled(), if !draining => {
                draining = true;
                state.draining.store(true, Ordering::Relaxed);
                last_call.as_mut().reset(tokio::time::Instant::now() + LAST_CALL);
            }
            () = client_idle.as_mut() => {
                client_idle.as_mut().reset(tokio::time::Instant::now() + request_timeout);
                if state.turns.waited_for_client(&mut seen) {
                    if leaving {
                        return;
                    }
                    leaving = true;
                    served.as_mut().graceful_shutdown();
                }
            }
            () = last_call.as_mut(), if draining && !leaving => {
                leaving = true;
                served.as_mut().graceful_shutdown();
            }
        }
    }
}

fn builder(header_timeout: Duration) -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(header_timeout)
        .max_headers(MAX_HEADERS)
        .max_buf_size(MAX_HEAD_BYTES);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(128)
        .max_header_list_size(32 * 1024)
        .keep_alive_interval(Duration::from_secs(20))
        .keep_alive_timeout(Duration::from_secs(10));
    builder
}
