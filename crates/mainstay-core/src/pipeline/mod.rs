//! Calls to a dependency, guarded as a whole: the parts in the one order in which they work together.
//!
//! ```text
//! deadline of the call → retry, paid from a budget → breaker → limit → time for one attempt → hedge → the call
//! ```
//!
//! Outermost the deadline, because it is what the caller was promised. The retry goes round the breaker, so that it
//! counts each attempt and refuses the next at once; the breaker round the limit, so that an open one keeps no place.
//! The time of an attempt begins when it has a place. A hedge is part of its attempt: one permit, one place. (Polly
//! and Resilience4j leave the order to the user; most orders are wrong.)
//!
//! # Promise
//! 1. A call ends by [`Policy::deadline`], and by the [deadline](crate::deadline) around it if that is earlier.
//! 2. Retries and hedges together pay from one [`Budget`](crate::budget::Budget).
//! 3. What the breaker or the limit refuses is told at once and not tried again: nothing was sent.
//! 4. To drop the call, at any time, leaves no permit, place or attempt behind; nor does a panic. One in the call says
//!    nothing about the dependency, one in [`Classify`] counts as a failure.
//! 5. [`Pipeline::configure`] changes all policies, or none; windows, permits and places stay.
//! 6. A call that succeeds at once takes no lock; it allocates nothing but the timer of the runtime.
//!
//! # Not promised
//! - That an attempt which timed out was not carried out: [`Classify`] says whether it may be repeated.
//! - An attempt that the deadline cut short says nothing about the dependency; one that had nine tenths of its time, or
//!   more, is a failure.
//!
//! # If the store is down
//! There is none: a pipeline lives in its process.
//!
//! # Defaults
//! 10 s for a call, 3 s for an attempt; the others are those of their parts; no hedging. See [`Policy`].
//!
//! # Metrics
//! `pipeline_calls_total{name, outcome}`: `success`, `failure` (an error or a result that counts as one), `open`,
//! `full`, `timeout`; and those of the parts, under the same name.
//!
//! ```
//! # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
//! use mainstay_core::breaker::{Breaker, Policy as BreakerPolicy};
//! use mainstay_core::metrics::Metrics;
//! use mainstay_core::pipeline::{Judgement, Outcome, Pipeline, Policy};
//! use mainstay_core::time::Clock;
//!
//! let (metrics, clock) = (Metrics::new(), Clock::system());
//! let breaker = Breaker::new("prices", BreakerPolicy::default(), &metrics, clock.clone())?;
//! let prices = Pipeline::new("prices", Policy::default(), breaker, &metrics, clock).unwrap();
//! let classify = |outcome: Outcome<'_, u32, std::io::Error>| match outcome {
//!     Outcome::Done(_) => Judgement::SUCCESS,
//!     Outcome::Failed(_) | Outcome::TimedOut => Judgement::TRANSIENT,
//! };
//! let price = prices.call(classify, |attempt| async move {
//!     if attempt.number == 1 { Err(std::io::ErrorKind::ConnectionReset.into()) } else { Ok(42) }
//! });
//! assert_eq!(price.await.unwrap(), 42);
//! # Ok::<(), mainstay_core::breaker::PolicyError>(()) }).unwrap();
//! ```

mod classify;
mod error;
mod limit;
#[expect(clippy::module_inception, reason = "the handle has the part's name")]
mod pipeline;
mod policy;

pub use crate::policy::PolicyError;
pub use classify::{Classify, Judgement, Outcome};
pub use error::Error;
pub use pipeline::{Attempt, Pipeline};
pub use policy::{Limit, Policy};
