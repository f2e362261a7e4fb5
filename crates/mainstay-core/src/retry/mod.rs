//! Trying again, without making matters worse.
//!
//! # Promise
//! 1. (B5) In any stretch of time *t* with *r* requests, the callers that share a [`Budget`] make at most
//!    `(1 + ratio) · r + per_second · t + burst` attempts, however many fail, retries and hedges together.
//! 2. (B6) Whoever may not try again gets the error of the last attempt, unchanged and at once: when the
//!    attempts are over, or the budget, or when the wait would leave less time before the
//!    [deadline](crate::deadline) than the median success took.
//! 3. Only an error that was classified as [`Retryable`] is tried again. A wait that the other side asked for
//!    is kept, never cut short: where it is longer than [`Policy::max_retry_after`], there is no retry.
//! 4. In a chain of services only the one next to the failure tries again, if each passes on that it
//!    [gave up](watched): attempts do not multiply.
//! 5. A call that succeeds at once takes no lock, reads no clock (but with a deadline) and allocates nothing.
//!
//! # Not promised
//! - That an operation may be repeated: whoever classifies knows whether it is idempotent, and whether the
//!   request can have arrived.
//! - A retry that was paid for and cancelled while it waited is not paid back.
//! - A limit to how long one attempt takes: [`deadline::timeout`](crate::deadline::timeout).
//!
//! # If the store is down
//! There is none: a budget lives in its process.
//!
//! # Defaults
//! Three attempts, waits of at most 50 ms, then 100 ms, drawn from zero on ("full jitter"); `Retry-After` up
//! to 10 s; a budget of 20 % of the requests, one a second, and ten at once. See [`Policy`],
//! [`BudgetPolicy`].
//!
//! # Metrics
//! - `retry_attempts_total{name}`: attempts after the first.
//! - `retry_recovered_total{name}`: calls that succeeded by such an attempt.
//! - `retry_given_up_total{name, reason}`: calls that failed with a retryable error: `attempts`, `budget`,
//!   `deadline`, `retry_after` (the other side asks for too long a wait).
//! - `retry_budget_tokens{name}`: extra attempts its budget would pay for now.
//!
//! ```
//! # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
//! use mainstay_core::metrics::Metrics;
//! use mainstay_core::retry::{Budget, BudgetPolicy, Policy, Retry, Retryable};
//! use mainstay_core::time::Clock;
//!
//! let budget = Budget::new(BudgetPolicy::default(), Clock::system())?;
//! let retry = Retry::new("prices", Policy::default(), budget, &Metrics::new(), Clock::system())?;
//! let price = retry.call(
//!     |error: &std::io::Error| match error.kind() {
//!         std::io::ErrorKind::ConnectionRefused => Retryable::Yes,
//!         _ => Retryable::No,
//!     },
//!     |attempt| async move {
//!         if attempt == 1 { Err(std::io::ErrorKind::ConnectionRefused.into()) } else { Ok(42) }
//!     },
//! );
//! assert_eq!(price.await.unwrap(), 42);
//! # Ok::<(), mainstay_core::policy::PolicyError>(()) }).unwrap();
//! ```

mod instruments;
mod policy;
#[expect(clippy::module_inception, reason = "the handle has the part's name")]
mod retry;
mod watch;

pub use crate::budget::{Budget, Policy as BudgetPolicy};
pub use crate::policy::PolicyError;
pub use policy::{MAX_ATTEMPTS, Policy};
pub use retry::{Retry, Retryable};
pub use watch::{HEADER, HEADER_NO, watched};
