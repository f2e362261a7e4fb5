use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use axum::body::{Body, Bytes};
use http_body::{Frame, SizeHint};

/// Whose turn it is on an HTTP/2 connection, ours or the client's.
///
/// HTTP/1.1 has a timer for the next head and a limit for writes. On HTTP/2 a client can answer pings and
/// otherwise do nothing for ever: ask for nothing, or open no window for the answer it asked for.
#[derive(Debug, Default)]
pub(super) struct Turns {
    /// Streams that wait for us: the handler runs, or the body has nothing to send yet.
    ours: AtomicUsize,
    /// Grows whenever a stream goes on.
    moves: AtomicUsize,
}

impl Turns {
    /// Whether it was the client's turn on every stream since the last call with the same `seen`. Never
    /// true before the first request, and so never on HTTP/1.1.
    pub(super) fn waited_for_client(&self, seen: &mut usize) -> bool {
        let moves = self.moves.load(Ordering::Relaxed);
        let before = std::mem::replace(seen, moves);
        moves != 0 && moves == before && self.ours.load(Ordering::Relaxed) == 0
    }

    pub(super) fn take(self: &Arc<Self>) -> OurTurn {
        self.moves.fetch_add(1, Ordering::Relaxed);
        self.ours.fetch_add(1, Ordering::Relaxed);
        OurTurn(Arc::clone(self))
    }
}

/// A stream that waits for us; the client's turn when dropped.
#[derive(Debug)]
pub(super) struct OurTurn(Arc<Turns>);

impl OurTurn {
    /// `body`, whose stream waits for us only while it has nothing to send.
    pub(super) fn answer(self, body: Body) -> Body {
        Body::new(Answer { body, turns: Arc::clone(&self.0), ours: None })
    }
}

impl Drop for OurTurn {
    fn drop(&mut self) {
        self.0.moves.fetch_add(1, Ordering::Relaxed);
        self.0.ours.fetch_sub(1, Ordering::Relaxed);
    }
}

struct Answer {
    body: Body,
    turns: Arc<Turns>,
    ours: Option<OurTurn>,
}

impl http_body::Body for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(cx);
        let turn = self.turns.take();
        self.ours = frame.is_pending().then_some(turn);
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
