//! The way of a request that changes something.

use std::sync::Arc;

use axum::extract::Request;
use axum::response::Response;
use mainstay_core::key::Key;
use tower::ServiceExt;

use super::rule::{self, ResponseTarget};
use super::{Gate, Handler};

/// Answers when nobody gets an older answer any more. A client that leaves, a panic and an error of the server say
/// nothing about what happened: what bears the tags is taken away as if it had.
pub(super) async fn answer<S: Handler>(gate: Arc<Gate>, inner: S, request: Request) -> Response {
    let (mut parts, body) = request.into_parts();
    let uri = rule::original_uri(&parts);
    let params = rule::path_params(&mut parts).await;
    let tags = gate.rule.tags(&ResponseTarget::new(&uri, &params));
    // What is no tag is on no answer: none is kept with it.
    let tags = tags.iter().filter(|tag| Key::new(tag).is_ok()).map(|tag| &**tag);
    let invalidation = gate.cache.invalidation(tags);
    let Ok(response) = inner.oneshot(Request::from_parts(parts, body)).await;
    let outcome = match invalidation {
        Ok(invalidation) if response.status().is_client_error() => {
            invalidation.cancel();
            Ok(())
        }
        Ok(invalidation) => invalidation.run().await,
        Err(error) => Err(error),
    };
    if let Err(error) = outcome {
        tracing::warn!(%error, path = uri.path(), "older answers may be served until the cache's store is back");
    }
    response
}
