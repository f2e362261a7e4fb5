//! Asking an HTTP endpoint how it is: for health checks and for the `health` command.

use std::time::Duration;

use axum::body::Body;
use http::{Request, StatusCode, Uri, header};
use http_body_util::{BodyExt, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use mainstay_core::health::Check;
use tokio::net::TcpStream;

/// A probed answer may be this long; a longer one counts as no answer.
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
    NoAnswer(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// An answer came, of another kind than 2xx. Redirects are not followed.
    #[error("answered {0}")]
    Status(StatusCode),
    /// Nothing came in time.
    #[error("no answer within {0:?}")]
    Timeout(Duration),
}

fn no_answer(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> ProbeError {
    ProbeError::NoAnswer(cause.into())
}

/// Sends one GET on a connection of its own and returns the body, which may have 64 KiB.
///
/// # Errors
/// [`ProbeError`], also when the status is not 2xx. Dropping the future closes the connection.
pub async fn probe(url: &str, deadline: Duration) -> Result<Vec<u8>, ProbeError> {
    tokio::time::timeout(deadline, get(url)).await.unwrap_or(Err(ProbeError::Timeout(deadline)))
}

async fn get(url: &str) -> Result<Vec<u8>, ProbeError> {
    let uri = url.parse::<Uri>().ok().filter(|uri| uri.scheme_str() == Some("http"));
    let authority = uri.as_ref().and_then(Uri::authority).cloned();
    let (Some(uri), Some(authority)) = (uri, authority) else {
        return Err(ProbeError::Url(url.to_owned()));
    };
    let host = authority.host().trim_start_matches('[').trim_end_matches(']');
    let stream = TcpStream::connect((host, authority.port_u16().unwrap_or(80))).await.map_err(no_answer)?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(no_answer)?;
    let request = Request::get(uri.path_and_query().map_or("/", |path| path.as_str()))
        .header(header::HOST, authority.as_str())
        .header(header::CONNECTION, "close")
        .body(Body::empty())
        .map_err(no_answer)?;
    let exchange = async {
        let response = sender.send_request(request).await.map_err(no_answer)?;
        let status = response.status();
        let body = Limited::new(response.into_body(), MAX_BODY).collect().await.map_err(no_answer)?;
        if status.is_success() { Ok(body.to_bytes().to_vec()) } else { Err(ProbeError::Status(status)) }
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
