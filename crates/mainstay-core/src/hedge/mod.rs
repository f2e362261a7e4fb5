//! Asking a second time when the first answer is unusually late, and taking whichever comes first.
//!
//! From "The Tail at Scale" (Dean and Barroso, CACM, 2013): a second request after the 95th percentile of the
//! latency adds at most 5 % of load and cuts the tail off.
//!
//! # Promise
//! 1. One call makes one attempt, and at most one more: not before [`Policy::percentile`] of the recent
//!    latencies is over, nor before [`Policy::min_samples`] are known, nor unless the [`Budget`] pays for it.
//! 2. The first success wins, and the other attempt is dropped. An error of one waits for the other, once
//!    both run; if both fail the call fails with the error of the first attempt.
//! 3. What retries and hedges add together is bounded by the budget that they share.
//! 4. The happy path takes no lock and allocates nothing.
//!
//! # Not promised
//! - That the attempt that lost was not served: only what may be repeated can be hedged.
//! - To hedge a call that has failed: that is for a [retry](crate::retry).
//! - Deposits: whoever makes the request pays into the budget. A retry around it does; alone, call
//!   [`Budget::deposit`].
//!
//! # If the store is down
//! There is none.
//!
//! # Defaults
//! After the 95th percentile of the last 128 calls, of at least 20, between 1 ms and 10 s. See [`Policy`].
//!
//! # Metrics
//! - `hedges_total{name, won}`: second attempts; `won` is `first` or `second`, or `none` where both failed or
//!   the call was dropped.
//! - `hedges_unpaid_total{name}`: second attempts that the budget did not pay for.
//! - `hedge_delay_seconds{name}`: when the next call would be hedged; absent before that is known.
//!
//! ```
//! # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
//! use mainstay_core::hedge::{Budget, Hedge, Policy};
//! use mainstay_core::metrics::Metrics;
//! use mainstay_core::time::Clock;
//!
//! let budget = Budget::new(Default::default(), Clock::system())?;
//! let hedge = Hedge::new("search", Policy::default(), budget, &Metrics::new(), Clock::system())?;
//! let found = hedge.call(|attempt| async move { Ok::<_, std::io::Error>(attempt) }).await;
//! assert_eq!(found.unwrap(), 1);
//! # Ok::<(), mainstay_core::policy::PolicyError>(()) }).unwrap();
//! ```

#[expect(clippy::module_inception, reason = "the handle has the part's name")]
mod hedge;
mod instruments;
mod policy;

pub use crate::budget::Budget;
pub use crate::policy::PolicyError;
pub use hedge::Hedge;
pub use policy::{MAX_SAMPLES, Policy};
