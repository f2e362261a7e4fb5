//! What is in flight in this process.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use axum::body::{Body, Bytes, HttpBody};
use http_body::{Frame, SizeHint};
use mainstay_core::lock::Guard;

/// Requests by the key that they count under. A key is here only while one is in flight.
#[derive(Debug, Default)]
pub(super) struct InFlight(Mutex<HashMap<Arc<str>, u32>>);

impl InFlight {
    /// Counts a request in, and says how many there are with it.
    pub(super) fn enter(self: &Arc<Self>, key: &str) -> (Entered, u32) {
        let mut counts = self.lock();
        let key = counts.get_key_value(key).map_or_else(|| key.into(), |(key, _)| Arc::clone(key));
        let count = counts.entry(Arc::clone(&key)).or_default();
        *count += 1;
        (Entered { all: Arc::clone(self), key }, *count)
    }

    pub(super) fn total(&self) -> u64 {
        self.lock().values().map(|count| u64::from(*count)).sum()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Arc<str>, u32>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request that is counted until this is dropped.
#[derive(Debug)]
pub(super) struct Entered {
    all: Arc<InFlight>,
    key: Arc<str>,
}

impl Drop for Entered {
    fn drop(&mut self) {
        let mut counts = self.all.lock();
        if let Some(count) = counts.get_mut(&self.key) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.key);
            }
        }
    }
}

/// Why a request may be in flight: counted here, and with a lease unless the store is away.
#[derive(Debug)]
pub(super) struct Permit {
    pub(super) _entered: Entered,
    pub(super) _lease: Option<Guard>,
}

/// A body that holds a permit until it ends or is dropped.
pub(super) struct Held {
    body: Body,
    permit: Option<Permit>,
}

impl Held {
    pub(super) fn around(body: Body, permit: Permit) -> Body {
        if body.is_end_stream() {
            return body;
        }
        Body::new(Self { body, permit: Some(permit) })
    }
}

impl HttpBody for Held {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(context);
        let over = matches!(frame, Poll::Ready(None | Some(Err(_)))) || self.body.is_end_stream();
        if over {
            self.permit = None;
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
