use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use axum::body::{Body, Bytes};
use axum::extract::Request;
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;

use super::pace::Pace;
use super::{Host, Limits, Reason};

/// Set once the client of this request was too slow with its body: an extension of the request.
#[derive(Debug, Clone, Default)]
pub(crate) struct SlowBody(Arc<AtomicBool>);

impl SlowBody {
    pub(crate) fn happened(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// `request`, whose body fails when it is waited for too long.
pub(super) fn paced(request: hyper::Request<Incoming>, host: &Arc<Host>, limits: &Limits) -> Request {
    if http_body::Body::is_end_stream(request.body()) {
        return request.map(Body::new);
    }
    let slow = SlowBody::default();
    let pace = Pace::new(limits.body_timeout, limits.min_rate);
    let upload = |body| Body::new(Upload { body, pace, slow: slow.clone(), host: Arc::clone(host) });
    let mut request = request.map(upload);
    request.extensions_mut().insert(slow);
    request
}

struct Upload {
    body: Incoming,
    pace: Pace,
    slow: SlowBody,
    host: Arc<Host>,
}

#[derive(Debug, thiserror::Error)]
#[error("the client was too slow with its body")]
struct TooSlow;

impl http_body::Body for Upload {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) {
            let bytes =
                frame.as_ref().and_then(|frame| frame.as_ref().ok()?.data_ref()).map_or(0, Bytes::len);
            self.pace.moved(bytes);
            return Poll::Ready(frame.map(|frame| frame.map_err(axum::Error::new)));
        }
        ready!(self.pace.poll_too_slow(cx));
        if !self.slow.0.swap(true, Ordering::Relaxed) {
            self.host.metrics.connection_ended(Reason::Body);
        }
        Poll::Ready(Some(Err(axum::Error::new(TooSlow))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
