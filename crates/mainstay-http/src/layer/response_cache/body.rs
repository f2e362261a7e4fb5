//! Reading a body up to a bound.

use axum::body::{Body, HttpBody};
use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt, stream};
use http::HeaderMap;
use http::header::CONTENT_TYPE;
use http_body::Frame;
use http_body_util::{BodyExt, BodyStream, StreamBody};

/// A body that was begun to be read.
pub(super) enum Read {
    Whole(Bytes),
    /// Too large, broken or with trailers: the same body again, what was read of it first.
    Unread(Body),
}

/// Reads a body if it has at most `bound` bytes. One that announces more, and a stream of events, which may
/// never end, is not begun.
pub(super) async fn read(headers: &HeaderMap, mut body: Body, bound: usize) -> Read {
    const EVENTS: &[u8] = b"text/event-stream";
    let events = |kind: &http::HeaderValue| {
        kind.as_bytes().get(..EVENTS.len()).is_some_and(|kind| kind.eq_ignore_ascii_case(EVENTS))
    };
    if body.size_hint().lower() > bound as u64 || headers.get(CONTENT_TYPE).is_some_and(events) {
        return Read::Unread(body);
    }
    let mut whole = BytesMut::new();
    while let Some(frame) = body.frame().await {
        match frame.map(Frame::into_data) {
            Ok(Ok(data)) if whole.len() + data.len() <= bound => whole.extend_from_slice(&data),
            Ok(Ok(data)) => return again(whole, Ok(Frame::data(data)), body),
            Ok(Err(trailers)) => return again(whole, Ok(trailers), body),
            Err(error) => return again(whole, Err(error), body),
        }
    }
    Read::Whole(whole.freeze())
}

fn again(read: BytesMut, next: Result<Frame<Bytes>, axum::Error>, rest: Body) -> Read {
    let read = stream::iter([Ok(Frame::data(read.freeze())), next]);
    Read::Unread(Body::new(StreamBody::new(read.chain(BodyStream::new(rest)))))
}
