//! The moment after which nobody waits for an answer any more.
//!
//! # Promise
//! - One deadline travels: whoever serves a request puts it around the handler ([`Deadline::scope`]), and
//!   everything awaited there finds it ([`Deadline::current`]): retries, queues, calls to others, which pass
//!   it on in the header [`HEADER`].
//! - A deadline inside another is the earlier of the two: nobody can wait for longer than their caller does.
//! - What a header says is bounded by [`MAX_HEADER`], and a bad one is an error to be ignored.
//!
//! # Not promised
//! - A task spawned inside does not have it by itself: `tokio::spawn(deadline::carried(work))`.
//! - It does not stop work that never awaits, nor what has been sent to others.
//! - A header tells remaining time, so that no clocks are compared; the time on the way is added.
//!
//! # If the store is down
//! There is none.
//!
//! # Defaults
//! No deadline.
//!
//! # Metrics
//! None: whoever gives up for it counts that.
//!
//! ```
//! # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
//! use mainstay_core::deadline::{Deadline, timeout};
//! use std::time::Duration;
//!
//! let request = Deadline::parse("250").unwrap(); // what the caller has left
//! let answer = request.scope(async {
//!     timeout(Duration::from_secs(10), std::future::pending::<()>()).await
//! });
//! assert!(answer.await.unwrap_err().is_deadline());
//! # });
//! ```

use std::future::Future;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{Either, lazy};
use tokio::time::Instant;

/// The HTTP header with the milliseconds that remain.
pub const HEADER: &str = "mainstay-deadline-ms";

/// The most that a header can ask for: an hour.
pub const MAX_HEADER: Duration = Duration::from_secs(3600);

/// What "no end" is cut to, so that no sum overflows: some thirty years.
const FAR: Duration = Duration::from_secs(1 << 30);

tokio::task_local! {
    static CURRENT: Deadline;
}

/// A moment of tokio's clock after which an answer is of no use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Deadline(Instant);

impl Deadline {
    /// So long from now.
    #[must_use]
    pub fn after(time: Duration) -> Self {
        Self(Instant::now() + time.min(FAR))
    }

    /// At this moment.
    #[must_use]
    pub const fn at(moment: Instant) -> Self {
        Self(moment)
    }

    /// The one that holds here: that of the innermost [`Deadline::scope`] around.
    #[must_use]
    pub fn current() -> Option<Self> {
        CURRENT.try_with(|deadline| *deadline).ok()
    }

    /// The moment itself.
    #[must_use]
    pub const fn instant(self) -> Instant {
        self.0
    }

    /// How long until then; zero once it is over.
    #[must_use]
    pub fn remaining(self) -> Duration {
        self.0.saturating_duration_since(Instant::now())
    }

    /// Whether it is over.
    #[must_use]
    pub fn is_over(self) -> bool {
        self.remaining().is_zero()
    }

    /// `future` with this deadline, or the one that holds here, or where it is awaited, if that is earlier. It is
    /// told, not enforced: for that see [`timeout`].
    pub fn scope<F: Future>(self, future: F) -> impl Future<Output = F::Output> + use<F> {
        let here = self.within();
        // Unlike an async block, this has no room for the future twice.
        lazy(move |_| CURRENT.scope(here.within(), future)).flatten()
    }

    fn within(self) -> Self {
        Self::current().map_or(self, |outer| outer.min(self))
    }

    /// The deadline that a caller wrote into [`HEADER`]; at most [`MAX_HEADER`] away.
    ///
    /// # Errors
    /// It is not a whole number of milliseconds. Whoever serves goes on as if there were no header.
    pub fn parse(header: &str) -> Result<Self, InvalidDeadline> {
        let header = header.trim_matches([' ', '\t']);
        if header.is_empty() || !header.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(InvalidDeadline);
        }
        // Only too many digits are left to fail.
        let millis = header.parse().unwrap_or(u64::MAX);
        Ok(Self::after(Duration::from_millis(millis).min(MAX_HEADER)))
    }

    /// What to write into [`HEADER`]: the whole milliseconds that remain.
    #[must_use]
    pub fn header(self) -> u64 {
        u64::try_from(self.remaining().min(MAX_HEADER).as_millis()).unwrap_or(u64::MAX)
    }
}

/// A header that is no deadline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{HEADER} must be a whole number of milliseconds")]
#[non_exhaustive]
pub struct InvalidDeadline;

/// `future` with the deadline that holds here, to be run elsewhere: `tokio::spawn(carried(work))`.
pub fn carried<F: Future>(future: F) -> impl Future<Output = F::Output> + use<F> {
    match Deadline::current() {
        Some(deadline) => Either::Left(CURRENT.scope(deadline, future)),
        None => Either::Right(future),
    }
}

/// Awaits `future` for at most `time`, and not beyond the deadline that holds here. What is awaited inside
/// sees the earlier of both as its deadline. With [`Duration::MAX`] and no deadline it waits without end.
///
/// # Errors
/// [`Elapsed`], which says what was over first; `future` has been dropped. If the deadline was over before,
/// it was not begun.
pub async fn timeout<F: Future>(time: Duration, future: F) -> Result<F::Output, Elapsed> {
    let outer = Deadline::current();
    if outer.is_none() && time >= FAR {
        return Ok(future.await);
    }
    let own = Deadline::after(time);
    let (deadline, elapsed) = match outer {
        Some(outer) if outer <= own => (outer, Elapsed::Deadline),
        _ => (own, Elapsed::Timeout { after: time }),
    };
    if deadline.is_over() {
        return Err(elapsed);
    }
    tokio::time::timeout_at(deadline.0, CURRENT.scope(deadline, future)).await.map_err(|_| elapsed)
}

/// No answer in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Elapsed {
    /// The deadline of the whole is over: there is no use in trying again.
    #[error("the deadline has passed")]
    Deadline,
    /// The time for this attempt is over.
    #[error("no answer within {after:?}")]
    Timeout {
        /// The time it had.
        after: Duration,
    },
}

impl Elapsed {
    /// Whether the whole is over, and not only this attempt.
    #[must_use]
    pub const fn is_deadline(self) -> bool {
        matches!(self, Self::Deadline)
    }
}
