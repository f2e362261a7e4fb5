use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::uri::PathAndQuery;
use http::{HeaderValue, Request, Response, Uri, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use opentelemetry_http::{HttpClient, HttpError};
use tokio::net::TcpStream;
use tokio::runtime::Handle;

/// An answer to an export is a few bytes; a longer one counts as none.
const MAX_ANSWER: usize = 64 * 1024;

/// Sends batches on the service's runtime. The exporter asks from a thread of its own that knows
/// none; that thread waits for each answer, so there is never more than one request under way.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) runtime: Handle,
    pub(super) timeout: Duration,
}

#[async_trait]
impl HttpClient for Client {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let timeout = self.timeout;
        // The clock is the runtime's, too: the limit is set there.
        let task = self.runtime.spawn(async move { tokio::time::timeout(timeout, post(request)).await? });
        let sent = task.await.unwrap_or_else(|ended| Err(ended.into()));
        // The exporter reports each failure as "network error".
        sent.inspect_err(|error| tracing::debug!(%error, "no answer from the collector"))
    }
}

/// One request on a connection of its own: every few seconds, to a collector that is near.
async fn post(request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
    let (mut parts, body) = request.into_parts();
    let authority = parts.uri.authority().cloned().ok_or("the endpoint has no host")?;
    let path = parts.uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
    parts.uri = Uri::from(path);
    parts.headers.insert(header::HOST, HeaderValue::from_str(authority.as_str())?);
    parts.headers.insert(header::CONNECTION, HeaderValue::from_static("close"));

    let host = authority.host().trim_start_matches('[').trim_end_matches(']');
    let stream = TcpStream::connect((host, authority.port_u16().unwrap_or(80))).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let exchange = async {
        let (parts, body) =
            sender.send_request(Request::from_parts(parts, Full::new(body))).await?.into_parts();
        let body = Limited::new(body, MAX_ANSWER).collect().await?.to_bytes();
        Ok(Response::from_parts(parts, body))
    };
    tokio::pin!(exchange);
    tokio::select! {
        answer = &mut exchange => answer,
        // The connection ends after the server closed it; what it delivered is still to be read.
        _ = connection => exchange.await,
    }
}
