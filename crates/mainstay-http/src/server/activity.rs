use std::error::Error;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use axum::body::{Body, Bytes};
use http_body::{Body as _, Frame, SizeHint};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::Limits;
use super::reason::Reason;

/// Requests that a client may have taken back more than it let finish, before it is taken for an attacker (HTTP/2
/// rapid reset, CVE-2023-44487). Those that come in one go do not get here: the protocol refuses them sooner.
const MAX_TAKEN_BACK: u32 = 100;

/// A piece of an answer on HTTP/2: a frame of the usual size. hyper hands a piece on as soon as the client opens its
/// window by a byte, and then forgets the answer: in one piece, one of any length would be over for us with its first
/// byte, and its connection idle while the client is taking the rest.
const PIECE: usize = 16 * 1024;

/// What happens on a connection, and so for how long it may go on like that.
///
/// hyper has timers of its own. They know one limit for the next head and for the idle time before it, begin only
/// with a byte that tells the version, and none of them looks at an HTTP/2 client that answers pings and otherwise
/// does nothing for ever: asks for nothing, or opens no window for the answer it asked for.
#[derive(Debug)]
pub(super) struct Activity {
    state: Mutex<State>,
    alarm: Notify,
}

#[derive(Debug)]
struct State {
    phase: Phase,
    /// When the phase began, or an answer last went on.
    since: Instant,
    http2: bool,
    /// Requests whose answer has not ended.
    open: usize,
    /// Of these, those that wait for us: the handler runs, or the body has nothing to send yet.
    ours: usize,
    /// Requests taken back less requests answered, as far as above zero.
    taken_back: u32,
    reads_too_slowly: bool,
    leaving: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Nothing has come yet.
    Accepted,
    /// A head has begun.
    Head,
    /// There are requests.
    Open,
    /// All requests are answered.
    Idle,
}

impl Activity {
    pub(super) fn new() -> Arc<Self> {
        let state = State {
            phase: Phase::Accepted,
            since: Instant::now(),
            http2: false,
            open: 0,
            ours: 0,
            taken_back: 0,
            reads_too_slowly: false,
            leaving: false,
        };
        Arc::new(Self { state: Mutex::new(state), alarm: Notify::new() })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Bytes came.
    pub(super) fn read(&self) {
        let mut state = self.state();
        match state.phase {
            // The first head counts from the beginning, its first byte included.
            Phase::Accepted => state.phase = Phase::Head,
            // On HTTP/2 it may be the answer to a ping: that alone keeps nobody.
            Phase::Idle if !state.http2 => (state.phase, state.since) = (Phase::Head, Instant::now()),
            Phase::Idle | Phase::Head | Phase::Open => {}
        }
    }

    /// Bytes went: perhaps the end of an answer that is over for us.
    pub(super) fn wrote(&self) {
        let mut state = self.state();
        if state.phase == Phase::Idle && !state.http2 {
            state.since = Instant::now();
        }
    }

    /// A request has come.
    pub(super) fn request(self: &Arc<Self>, http2: bool) -> OpenRequest {
        let mut state = self.state();
        state.http2 = http2;
        state.open += 1;
        state.ours += 1;
        (state.phase, state.since) = (Phase::Open, Instant::now());
        OpenRequest { activity: Arc::clone(self), http2, ours: true, answered: false }
    }

    /// The client is told to go. One that does not listen may be idle for no longer than a head may take from now on:
    /// a request may be on its way.
    pub(super) fn leave(&self) {
        let mut state = self.state();
        state.leaving = true;
        if state.phase == Phase::Idle {
            state.since = Instant::now();
        }
    }

    /// The client takes too little of what is sent to it.
    pub(super) fn reads_too_slowly(&self) {
        self.state().reads_too_slowly = true;
    }

    /// Why hyper ended the connection with `error`, if that was the client's doing. One that just left did nothing, and
    /// an answer that broke off was ours.
    pub(super) fn blame(&self, error: &(dyn Error + 'static)) -> Option<Reason> {
        if self.state().reads_too_slowly {
            return Some(Reason::Write);
        }
        let mut cause = Some(error);
        while let Some(error) = cause {
            if error.is::<io::Error>() || error.downcast_ref().is_some_and(left_or_ours) {
                return None;
            }
            if error.downcast_ref().is_some_and(is_flood) {
                return Some(Reason::Resets);
            }
            cause = error.source();
        }
        Some(Reason::Protocol)
    }

    /// Returns when there is reason to judge at once.
    pub(super) async fn alarmed(&self) {
        self.alarm.notified().await;
    }

    /// Whether the connection has to end: why, or when to look again.
    pub(super) fn judge(&self, limits: &Limits) -> Result<Instant, Reason> {
        let state = self.state();
        let now = Instant::now();
        let (limit, reason) = match state.phase {
            _ if state.taken_back > MAX_TAKEN_BACK => return Err(Reason::Resets),
            Phase::Accepted => (limits.header_timeout, Reason::FirstByte),
            Phase::Head => (limits.header_timeout, Reason::Header),
            Phase::Idle if state.leaving => (limits.header_timeout, Reason::Idle),
            Phase::Idle => (limits.idle_timeout, Reason::Idle),
            Phase::Open if state.http2 && state.ours == 0 => (limits.request_timeout, Reason::Write),
            Phase::Open => return Ok(now + limits.shortest()),
        };
        let Some(due) = state.since.checked_add(limit) else { return Ok(now + limits.shortest()) };
        // What begins after this look is not due before the next one.
        if due <= now { Err(reason) } else { Ok(due.min(now + limits.shortest())) }
    }
}

fn left_or_ours(error: &hyper::Error) -> bool {
    error.is_incomplete_message() || error.is_canceled() || error.is_closed() || error.is_user()
}

/// So the protocol ends a connection itself: too many resets, or frames that only cost.
fn is_flood(error: &h2::Error) -> bool {
    error.is_library() && error.reason() == Some(h2::Reason::ENHANCE_YOUR_CALM)
}

/// A request whose answer has not ended.
#[derive(Debug)]
pub(super) struct OpenRequest {
    activity: Arc<Activity>,
    http2: bool,
    ours: bool,
    answered: bool,
}

impl OpenRequest {
    /// `body`, which waits for us only while it has nothing to send.
    pub(super) fn answer(self, body: Body) -> Body {
        Body::new(Answer { ended: body.is_end_stream(), body, rest: Bytes::new(), request: self })
    }

    fn went_on(&mut self, ours: bool) {
        let mut state = self.activity.state();
        state.since = Instant::now();
        match (self.ours, ours) {
            (true, false) => state.ours -= 1,
            (false, true) => state.ours += 1,
            _ => {}
        }
        self.ours = ours;
    }
}

impl Drop for OpenRequest {
    fn drop(&mut self) {
        let mut state = self.activity.state();
        state.open -= 1;
        state.ours -= usize::from(self.ours);
        // On HTTP/1.1 a client takes a request back by leaving, and hyper lets go of an answer of announced length
        // before it has told of its end.
        if self.http2 {
            let taken_back = state.taken_back;
            state.taken_back =
                if self.answered { taken_back.saturating_sub(1) } else { taken_back.saturating_add(1) };
        }
        state.since = Instant::now();
        if state.open == 0 {
            state.phase = Phase::Idle;
        }
        if state.taken_back > MAX_TAKEN_BACK {
            self.activity.alarm.notify_one();
        }
    }
}

struct Answer {
    body: Body,
    /// What is left of the piece that the handler gave.
    rest: Bytes,
    request: OpenRequest,
    ended: bool,
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.request.answered = self.ended;
    }
}

impl http_body::Body for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let mut frame = if self.rest.is_empty() {
            Pin::new(&mut self.body).poll_frame(cx)
        } else {
            Poll::Ready(Some(Ok(Frame::data(std::mem::take(&mut self.rest)))))
        };
        self.request.went_on(frame.is_pending());
        if let Poll::Ready(Some(Ok(frame))) = &mut frame
            && self.request.http2
            && let Some(data) = frame.data_mut()
            && data.len() > PIECE
        {
            self.rest = data.split_off(PIECE);
        }
        // An answer that breaks off on our side is none that the client took back.
        self.ended |= self.is_end_stream() || matches!(frame, Poll::Ready(None | Some(Err(_))));
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (mut hint, rest) = (self.body.size_hint(), self.rest.len() as u64);
        if let Some(upper) = hint.upper() {
            hint.set_upper(upper.saturating_add(rest));
        }
        hint.set_lower(hint.lower().saturating_add(rest));
        hint
    }
}
