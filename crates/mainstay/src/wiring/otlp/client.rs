use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::{Request, Response};
use mainstay_http::send_once;
use opentelemetry_http::{HttpClient, HttpError};
use tokio::runtime::Handle;

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
        let task =
            self.runtime.spawn(async move { tokio::time::timeout(timeout, send_once(request)).await? });
        let sent = task.await.unwrap_or_else(|ended| Err(ended.into()));
        // The exporter reports each failure as "network error".
        sent.inspect_err(|error| tracing::debug!(%error, "no answer from the collector"))
    }
}
