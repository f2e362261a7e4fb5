//! One HTTP request on a connection of its own, and with it: asking an endpoint how it is, for health checks
//! and for the `health` command.

mod unverified;

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::uri::PathAndQuery;
use http::{HeaderValue, Request, Response, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use mainstay_core::health::Check;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// An answer may be this long; a longer one counts as none.
const MAX_BODY: usize = 64 * 1024;

/// Why an endpoint counts as down.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProbeError {
    /// The text is not an `http://` URL with a host. `https` is not in this build.
    #[error("`{0}` is not an http:// URL")]
    Url(String),
    /// No answer: refused, reset, or not HTTP.
    #[error("no answer: {0}")]
    NoAnswer(#[source] BoxError),
    /// An answer came, of another kind than 2xx. Redirects are not followed.
    #[error("answered {0}")]
    Status(StatusCode),
    /// Nothing came in time.
    #[error("no answer within {0:?}")]
    Timeout(Duration),
}

fn no_answer(cause: impl Into<BoxError>) -> ProbeError {
    ProbeError::NoAnswer(cause.into())
}

/// Sends one GET on a connection of its own and returns the body, which may have 64 KiB.
///
/// # Errors
/// [`ProbeError`], also when the status is not 2xx. Dropping the future closes the connection.
pub async fn probe(url: &str, deadline: Duration) -> Result<Vec<u8>, ProbeError> {
    tokio::time::timeout(deadline, get(url)).await.unwrap_or(Err(ProbeError::Timeout(deadline)))
}

/// Asks the service on this machine that listens at `addr`, and reads what [`probe`] does. `encrypted` says whether
/// it speaks TLS; whom its certificate names is not asked.
///
/// # Errors
/// As [`probe`].
pub async fn probe_own(
    addr: SocketAddr,
    encrypted: bool,
    path: &'static str,
    deadline: Duration,
) -> Result<Vec<u8>, ProbeError> {
    let ask = async {
        let request = Request::get(format!("http://{addr}{path}")).body(Bytes::new()).map_err(no_answer)?;
        let stream = TcpStream::connect(addr).await.map_err(no_answer)?;
        let answer = if encrypted {
            let stream = unverified::encrypt(stream, addr).await.map_err(no_answer)?;
            exchange(stream, request).await
        } else {
            exchange(stream, request).await
        };
        successful(answer.map_err(ProbeError::NoAnswer)?)
    };
    tokio::time::timeout(deadline, ask).await.unwrap_or(Err(ProbeError::Timeout(deadline)))
}

async fn get(url: &str) -> Result<Vec<u8>, ProbeError> {
    let uri = url.parse::<Uri>().ok().filter(|uri| uri.scheme_str() == Some("http"));
    let Some(uri) = uri.filter(|uri| uri.authority().is_some()) else {
        return Err(ProbeError::Url(url.to_owned()));
    };
    let request = Request::get(uri).body(Bytes::new()).map_err(no_answer)?;
    successful(send_once(request).await.map_err(ProbeError::NoAnswer)?)
}

fn successful(response: Response<Bytes>) -> Result<Vec<u8>, ProbeError> {
    let status = response.status();
    if status.is_success() { Ok(response.into_body().to_vec()) } else { Err(ProbeError::Status(status)) }
}

/// Sends one request on a connection of its own and reads the whole answer, which may have 64 KiB: for
/// what is asked now and then, not for calls to other services. Speaks HTTP/1.1 without TLS, follows no
/// redirect and has no time limit; the caller sets one.
///
/// # Errors
/// Whatever came instead of an answer. Dropping the future closes the connection.
pub async fn send_once(request: Request<Bytes>) -> Result<Response<Bytes>, BoxError> {
    let authority = request.uri().authority().cloned().ok_or("the URL has no host")?;
    let host = authority.host().trim_start_matches('[').trim_end_matches(']');
    let stream = TcpStream::connect((host, authority.port_u16().unwrap_or(80))).await?;
    exchange(stream, request).await
}

async fn exchange<S>(stream: S, request: Request<Bytes>) -> Result<Response<Bytes>, BoxError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut parts, body) = request.into_parts();
    let authority = parts.uri.authority().cloned().ok_or("the URL has no host")?;
    let path = parts.uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
    parts.uri = Uri::from(path);
    parts.headers.insert(header::HOST, HeaderValue::from_str(authority.as_str())?);
    parts.headers.insert(header::CONNECTION, HeaderValue::from_static("close"));

    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let exchange = async {
        let (parts, body) =
            sender.send_request(Request::from_parts(parts, Full::new(body))).await?.into_parts();
        let body = Limited::new(body, MAX_BODY).collect().await?.to_bytes();
        Ok(Response::from_parts(parts, body))
    };
    tokio::pin!(exchange);
    tokio::select! {
        answer = &mut exchange => answer,
        // The connection ends after the server closed it; what it delivered is still to be read.
        _ = connection => exchange.await,
    }
}

/// A health check that passes while `url` answers 2xx. Its own time limit is the check's.
pub fn http_check(name: impl Into<String>, url: impl Into<String>) -> Check {
    let url = url.into();
    Check::new(name, move || {
        let url = url.clone();
        async move { get(&url).await.map(drop) }
    })
}
