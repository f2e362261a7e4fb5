//! What every store contract shares: the reply, the failure and the degrade rule.
//!
//! A primitive's state lies behind a store trait: in this process, or on a server. The trait must be
//! usable as `dyn`, so its methods return a [`Reply`]: a future that a store in this process hands back
//! finished, without an allocation, and a store on a server hands back boxed. One contract, and the
//! near store pays nothing for the far one.

use std::borrow::Cow;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

/// The answer of a store: there already, or on its way.
///
/// ```
/// use mainstay_core::store::Reply;
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// assert_eq!(Reply::ready(7).await, 7);
/// assert_eq!(Reply::pending(async { 7 }).await, 7);
/// assert_eq!(Reply::ready(7).get(), Some(&7));
/// assert_eq!(Reply::ready(7).now().unwrap(), 7);
/// assert!(Reply::pending(async { 7 }).now().is_err());
/// # });
/// ```
#[must_use = "a reply that is not awaited may never be asked for"]
pub struct Reply<'a, T>(State<'a, T>);

enum State<'a, T> {
    Ready(Option<T>),
    Pending {
        future: Pin<Box<dyn Future<Output = T> + Send + 'a>>,
        /// See [`Reply::bounded`].
        bound: Duration,
    },
}

impl<'a, T> Reply<'a, T> {
    /// An answer that is there.
    pub fn ready(value: T) -> Self {
        Self(State::Ready(Some(value)))
    }

    /// An answer that has to be awaited.
    pub fn pending(future: impl Future<Output = T> + Send + 'a) -> Self {
        Self::bounded(Duration::MAX, future)
    }

    /// An answer that has to be awaited, and that comes within `bound` of the first poll: the store sees to that.
    /// Whoever would wait for longer needs no timer of their own.
    pub fn bounded(bound: Duration, future: impl Future<Output = T> + Send + 'a) -> Self {
        Self(State::Pending { future: Box::pin(future), bound })
    }

    /// The answer of a future that awaits this one and nothing else, and is therefore there as soon.
    pub fn wrapped<U, F: Future<Output = U> + Send + 'a>(
        self,
        around: impl FnOnce(Self) -> F,
    ) -> Reply<'a, U> {
        match &self.0 {
            State::Pending { bound, .. } => Reply::bounded(*bound, around(self)),
            State::Ready(_) => Reply::pending(around(self)),
        }
    }

    /// The answer where it is, if it is there: to be read without moving it.
    pub const fn get(&self) -> Option<&T> {
        match &self.0 {
            State::Ready(value) => value.as_ref(),
            State::Pending { .. } => None,
        }
    }

    /// The answer if it is there, for callers that cannot wait (`Drop`).
    ///
    /// # Errors
    /// The reply itself, still to be awaited.
    pub fn now(self) -> Result<T, Self> {
        match self.0 {
            State::Ready(value) => Ok(value.expect("only `poll` takes the value out")),
            State::Pending { .. } => Err(self),
        }
    }
}

impl<T> Reply<'_, Result<T, StoreError>> {
    /// Awaits the answer for at most `deadline`. Costs no timer where the answer is there, or [in time](Self::bounded)
    /// by itself.
    ///
    /// # Errors
    /// What the store said, or [`StoreError::Unknown`] when the deadline passed: the question may have
    /// arrived.
    pub async fn within(self, deadline: Duration) -> Result<T, StoreError> {
        match self.0 {
            State::Ready(value) => value.expect("only `poll` takes the value out"),
            State::Pending { future, bound } if bound <= deadline => future.await,
            State::Pending { future, .. } => match tokio::time::timeout(deadline, future).await {
                Ok(answer) => answer,
                Err(_) => Err(StoreError::unknown(format!("no answer within {deadline:?}"))),
            },
        }
    }
}

/// No part of a reply is pinned in place: the boxed future has its own.
impl<T> Unpin for Reply<'_, T> {}

impl<T> Future for Reply<'_, T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        match &mut self.0 {
            State::Ready(value) => Poll::Ready(value.take().expect("a finished future is not polled again")),
            State::Pending { future, .. } => future.as_mut().poll(context),
        }
    }
}

impl<T> fmt::Debug for Reply<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if matches!(self.0, State::Ready(_)) { "Reply(ready)" } else { "Reply(pending)" })
    }
}

/// Why a store gave no answer. Each kind asks for something else of the caller.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The store was not reached: nothing has happened, trying again later is safe.
    #[error("store unavailable: {reason}")]
    Unavailable {
        /// For the log.
        reason: Cow<'static, str>,
    },
    /// The question was sent and no answer came: it may have taken effect. Only a question that may be
    /// asked twice is asked again.
    #[error("outcome unknown: {reason}")]
    Unknown {
        /// For the log.
        reason: Cow<'static, str>,
    },
    /// The store answered and refused: asking again changes nothing.
    #[error("store refused: {reason}")]
    Rejected {
        /// For the log.
        reason: Cow<'static, str>,
    },
}

impl StoreError {
    /// The store was not reached.
    pub fn unavailable(reason: impl Into<Cow<'static, str>>) -> Self {
        Self::Unavailable { reason: reason.into() }
    }

    /// No answer came.
    pub fn unknown(reason: impl Into<Cow<'static, str>>) -> Self {
        Self::Unknown { reason: reason.into() }
    }

    /// The store refused.
    pub fn rejected(reason: impl Into<Cow<'static, str>>) -> Self {
        Self::Rejected { reason: reason.into() }
    }
}

/// What a primitive does while its store is slow or gone: one word for each, the same in the code, in
/// `/distributed/info` and in the documentation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Degrade {
    /// Serves what it last knew, within a bound.
    Stale,
    /// Goes on with what this process has.
    Local,
    /// Lets the caller pass.
    Allow,
    /// Turns the caller away.
    Deny,
    /// Fails at once, with an error that says so.
    Refuse,
    /// Keeps the work until the store is back, within a bound.
    Queue,
}

impl Degrade {
    /// The word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Stale => "stale",
            Self::Local => "local",
            Self::Allow => "allow",
            Self::Deny => "deny",
            Self::Refuse => "refuse",
            Self::Queue => "queue",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_does_not_come_has_an_unknown_outcome() {
        let reply: Reply<'_, Result<(), StoreError>> = Reply::pending(std::future::pending());
        let answer = reply.within(Duration::from_secs(1)).await;
        assert!(matches!(answer, Err(StoreError::Unknown { .. })), "{answer:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_keeps_a_deadline_is_waited_for_if_that_is_the_earlier_one() {
        let slow = |bound| {
            Reply::bounded(bound, async {
                tokio::time::sleep(Duration::from_secs(2)).await;
                Ok::<_, StoreError>(7)
            })
        };
        let keeps = Duration::from_secs(2);
        assert_eq!(slow(keeps).within(keeps).await, Ok(7));
        assert_eq!(slow(keeps).wrapped(|reply| reply).within(keeps).await, Ok(7));
        assert!(slow(keeps).within(Duration::from_secs(1)).await.is_err());
        assert!(slow(Duration::MAX).within(Duration::from_secs(1)).await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_is_there_needs_no_time() {
        assert_eq!(Reply::ready(Ok::<_, StoreError>(7)).within(Duration::ZERO).await, Ok(7));
    }
}
