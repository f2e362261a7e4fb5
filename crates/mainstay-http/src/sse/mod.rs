//! Events as they happen, sent to browsers and other clients: server-sent events (the `EventSource` of the HTML
//! standard).
//!
//! # Promise
//! - A client that comes back with `Last-Event-ID`, as browsers do by themselves, misses nothing and sees nothing
//!   twice, on whichever instance it lands. Where something it has not seen is not retained any more, it is sent an
//!   event `reset` first: it loads its picture anew.
//! - A silent stream carries a comment every 15 s, so that no proxy takes it for dead.
//! - No layer holds a stream up or ends it: it is not compressed, not cached, and not under the time limit of requests.
//! - The number of streams is bounded; a client beyond it is answered `503`.
//! - Whatever its speed, a client costs no memory: what it is behind is read from the history. One that takes
//!   nothing for [`Limits::request_timeout`](crate::Limits::request_timeout) is cut off.
//! - [`EventStreams::until`] ends a stream with the right to it.
//! - [`EventStreams::close`] ends all of them in order, at the end of an event.
//!
//! # Not promised
//! - Anything from before the first connection. A client connects first and loads its picture then, whenever its
//!   `EventSource` says `open`.
//! - That a client without an id yet hears what happens while it is away: it begins anew.
//! - That a token which is revoked ends the streams it has opened before it expires.
//! - That browsers come back after `503`: the standard has them give up. Their script has to.
//!
//! # If the store is down
//! Open streams wait and go on where they were; a new one is `503`.
//!
//! # Defaults
//! See [`EventStreamOptions`].
//!
//! # Metrics
//! `http_event_streams`, `http_event_streams_refused_total`

mod frame;
mod last_event_id;

use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::stream;
use http::{HeaderName, HeaderValue, header};
use jiff::Timestamp;
use mainstay_core::event::{self, Envelope, EventId, Events, Item, Reader};
use mainstay_core::metrics::{Counter, Metrics, Unit};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::Problem;
use frame::Frame;
pub use last_event_id::LastEventId;
use last_event_id::Seen;

/// Seconds after which a client that was refused may ask again.
const AGAIN: u32 = 5;

/// How event streams work: plain data with complete defaults.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct EventStreamOptions {
    /// Most streams at once. Default 1,000.
    pub max: usize,
    /// How long a stream may be silent before it carries a comment. Default 15 s.
    pub heartbeat: Duration,
    /// How long clients are told to wait before they come back, give or take a quarter, so that they do not all
    /// come at once. Default 3 s.
    pub retry: Duration,
}

impl Default for EventStreamOptions {
    fn default() -> Self {
        Self { max: 1_000, heartbeat: Duration::from_secs(15), retry: Duration::from_secs(3) }
    }
}

/// Streams of events to clients. Clones are the same and share one bound.
///
/// ```
/// use axum::extract::State;
/// use axum::response::Response;
/// use mainstay_core::event::Events;
/// use mainstay_http::{EventStreams, LastEventId, Problem};
///
/// async fn user_events(
///     State((streams, events)): State<(EventStreams, Events)>,
///     last: LastEventId,
/// ) -> Result<Response, Problem> {
///     streams.feed(&events, "user.*", last, |event| Some(event.to_cloud_event())).await
/// }
/// ```
#[derive(Clone)]
pub struct EventStreams {
    inner: Arc<Inner>,
    until: Option<Timestamp>,
}

struct Inner {
    options: EventStreamOptions,
    free: Arc<Semaphore>,
    closing: CancellationToken,
    refused: Counter,
}

impl EventStreams {
    /// Streams that are counted into `metrics`.
    #[must_use]
    pub fn new(options: EventStreamOptions, metrics: &Metrics) -> Self {
        const OPEN: &str = "http_event_streams";
        const REFUSED: &str = "http_event_streams_refused_total";
        metrics.describe_gauge(OPEN, Unit::None, "Clients that are sent events as they happen.");
        metrics.describe_counter(REFUSED, Unit::None, "Clients refused because there were too many.");
        let max = options.max.min(Semaphore::MAX_PERMITS);
        let free = Arc::new(Semaphore::new(max));
        let counted = Arc::downgrade(&free);
        metrics.collect(move |sink| {
            let free = counted.upgrade().map_or(max, |free| free.available_permits());
            sink.gauge(OPEN, &[], max.saturating_sub(free) as f64);
        });
        let refused = metrics.counter(REFUSED).with(&[]);
        let inner = Inner { options, free, closing: CancellationToken::new(), refused };
        Self { inner: Arc::new(inner), until: None }
    }

    /// The same, of which each ends at this moment: when the token it was asked with expires
    /// ([`Principal::expires`](mainstay_auth::Principal::expires)). Its client comes back with the next token.
    #[must_use]
    pub fn until(&self, end: Option<Timestamp>) -> Self {
        Self { until: end, ..self.clone() }
    }

    /// Sends a client what is published from now on of the types that `pattern` takes, and before it what it has
    /// missed since `last`.
    ///
    /// `show` makes the text of an event's `data` field, and `None` of what this client is not to see. The `event` field
    /// is the event's type, `id` its id.
    ///
    /// # Errors
    /// `503`: there are as many streams as there may be, all of them have been closed, or the store is away.
    pub async fn feed(
        &self,
        events: &Events,
        pattern: &str,
        last: LastEventId,
        show: impl Fn(&Envelope) -> Option<String> + Send + 'static,
    ) -> Result<Response, Problem> {
        let place = self.place()?;
        let (after, has_to_reset) = match last.0 {
            Seen::Nothing => (None, false),
            Seen::Event(id) => (Some(id), false),
            // Whatever it has seen, it is not known here.
            Seen::Unknown => (None, true),
        };
        let feed = events.feed(pattern).await.map_err(|error| refuse(&error))?;
        let options = self.inner.options;
        let stream = Stream {
            opening: Some(frame::opening(jittered(options.retry), has_to_reset)),
            reader: feed.read(after),
            show,
            unseen: None,
            heartbeat: options.heartbeat,
            closing: self.inner.closing.clone(),
            end: self.until.and_then(moment),
            _place: place,
        };
        let frames = stream::unfold(stream, async |mut stream| {
            let frame = stream.next().await?;
            Some((Ok::<_, Infallible>(frame), stream))
        });
        let headers = [
            (header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream")),
            (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
            // nginx would collect answers before it passes them on.
            (HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no")),
        ];
        Ok((headers, Body::from_stream(frames)).into_response())
    }

    /// Ends all streams, each at the end of an event, and refuses new ones: for the shutdown, when no connection is
    /// accepted any more. Clients come back to another instance, with the id of what they have seen.
    pub fn close(&self) {
        self.inner.closing.cancel();
        self.inner.free.close();
    }

    fn place(&self) -> Result<OwnedSemaphorePermit, Problem> {
        Arc::clone(&self.inner.free).try_acquire_owned().map_err(|_| {
            self.inner.refused.increment(1);
            Problem::unavailable(AGAIN).detail("There are as many streams of events as there may be.")
        })
    }
}

impl fmt::Debug for EventStreams {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventStreams")
            .field("options", &self.inner.options)
            .field("free", &self.inner.free.available_permits())
            .finish_non_exhaustive()
    }
}

fn refuse(error: &event::Error) -> Problem {
    match error {
        event::Error::Unavailable(_) | event::Error::Unknown { .. } | event::Error::Stopped => {
            Problem::unavailable(AGAIN).detail("The store of events is not reached.").because(error)
        }
        _ => Problem::internal(error),
    }
}

fn jittered(retry: Duration) -> Duration {
    retry.mul_f64(rand::random_range(0.75..=1.25))
}

/// `None`: so late that it never comes.
fn moment(time: Timestamp) -> Option<Instant> {
    let left = Duration::try_from(time.duration_since(Timestamp::now())).unwrap_or_default();
    Instant::now().checked_add(left)
}

async fn at(end: Option<Instant>) {
    match end {
        Some(end) => tokio::time::sleep_until(end).await,
        None => std::future::pending().await,
    }
}

/// One client's.
struct Stream<F> {
    opening: Option<Bytes>,
    reader: Reader,
    show: F,
    /// The last event, if it was not shown.
    unseen: Option<EventId>,
    heartbeat: Duration,
    closing: CancellationToken,
    end: Option<Instant>,
    /// Given back when the client is gone.
    _place: OwnedSemaphorePermit,
}

impl<F: Fn(&Envelope) -> Option<String>> Stream<F> {
    /// What the client is sent next; nothing, and the stream ends.
    async fn next(&mut self) -> Option<Bytes> {
        if let Some(opening) = self.opening.take() {
            return Some(opening);
        }
        let heartbeat = tokio::time::sleep(self.heartbeat);
        tokio::pin!(heartbeat);
        loop {
            let item = tokio::select! {
                biased;
                () = self.closing.cancelled() => return None,
                () = at(self.end) => return None,
                item = self.reader.next() => item?,
                () = &mut heartbeat => return Some(frame::heartbeat(self.unseen.take())),
            };
            match item {
                Item::Event(event) => match (self.show)(&event) {
                    Some(data) => {
                        self.unseen = None;
                        return Some(Frame { id: event.id, kind: &event.kind, data: &data }.write());
                    }
                    None => self.unseen = Some(event.id),
                },
                _ => return Some(frame::reset()),
            }
        }
    }
}
