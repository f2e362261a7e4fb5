//! How often may this happen?
//!
//! # Promise
//! 1. (R1) No window of length W, whenever it begins, holds more than the limit, whatever the schedule, however
//!    many tasks, threads or processes ask. (With [`Quota::gcra`]: no more than burst + limit.) State that
//!    still counts is never given up for want of memory.
//! 2. (R2) [`RateLimiter::check_all`] charges all or none: when one limit refuses, no count changes.
//! 3. (R3) [`Decision::retry_after`] suffices: waiting exactly that long, alone, is admitted; and it is at most
//!    W·(1 + 1/k). What can never be admitted says so.
//! 4. (R4) [`Decision::remaining`] grows only as time passes or by a refund; a refund gives back at
//!    most what was charged, once, and nothing that has left its window.
//! 5. (R5) Under saturation at least k/(k+1) of the limit is admitted: 10/11 by default, 60/61 with
//!    `.buckets(60)`.
//!
//! Time is a clock that never goes back; where a store's clock does, nothing is reopened, and waits are
//! longer by the step.
//!
//! # Not promised
//! - That a clock which leaps forward is noticed: windows then end early, once.
//! - A place in line: who waits `retry_after` competes with all others.
//! - That a denied call among several says what it would have got alone: waiting the longest
//!   `retry_after` of its decisions suffices.
//! - Cancelling a check takes no charge back.
//! - That a refund made by another process is noticed at once. A store that has to be waited for is not asked again
//!   about a key and cost that it refused, until the wait it told is over; a refund through this limiter ends that.
//!   Nor, for the same reason, that the store lost what it had counted, or that its clock leapt. Else the answer is
//!   the one the store would give.
//!
//! # If the store is down
//! The word is `local`: each process goes on with its share of the limit, the limit divided by
//! [`Options::instances`], at least 1, counted anew. Per quota or for all this can be `deny` or `allow`
//! ([`Outage`]). An answer that does not come in time counts as an outage, and the charge that may have
//! been made as spent: it is not asked again. Decisions made so are [`Decision::degraded`]; one refused for want
//! of the store has [`Refusal::Outage`], which is no fault of the client. The log says when this begins
//! and ends.
//!
//! # Defaults
//! Ten buckets per window, 100,000 keys, 500 ms for the store, one instance, outage policy `local`. See
//! [`Options`] and [`Quota`]. Of a far store's refusals 10,000 are remembered. A key in memory takes about 300 bytes, its name and 4·(k+1) bytes until
//! its last charge has left the window and new keys come.
//!
//! # Metrics
//! - `rate_limit_decisions_total{policy, result}`: `allowed`, `denied` or `never` (costs more than ever
//!   fits). In a refused call of several only those that refused are counted. Peeks are not.
//! - `rate_limit_degraded_total{policy}`: those of them that were made without the store.
//! - `rate_limit_deny_cache_hits_total{policy}`: those that were refused without asking a far store again.
//! - `rate_limit_keys{place}`, `rate_limit_shared_states{place}`: states in this process; `place` is `store`, or
//!   `local` for the outage.
//! - `rate_limit_overflow_total{place}`: decisions over a shared state, for want of room: raise
//!   [`Options::max_keys`] if this grows.
//!
//! ```
//! # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
//! use mainstay_core::metrics::Metrics;
//! use mainstay_core::rate_limit::{Charge, Options, Quota, RateLimiter};
//! use mainstay_core::time::Clock;
//!
//! let limiter = RateLimiter::in_memory(Options::default(), &Metrics::new(), Clock::system());
//!
//! const API: Quota = Quota::per_minute(2).named("api");
//! assert_eq!(limiter.check("user:123", API).await?.remaining, 1);
//! let second = limiter.check("user:123", API).await?;
//! let third = limiter.check("user:123", API).await?;
//! assert!(!third.allowed && third.retry_after.is_some());
//!
//! limiter.refund("user:123", API, &second).await?; // it came to nothing
//! let both = [Charge::new("user:123", API), Charge::new("everybody", Quota::per_second(1_000))];
//! assert!(limiter.check_all(&both).await?.allowed());
//! # Ok::<(), mainstay_core::rate_limit::Error>(()) }).unwrap();
//! ```

mod config;
mod decision;
mod denied;
mod error;
mod gcra;
mod instruments;
mod limiter;
mod memory;
mod meter;
mod named;
mod outage;
mod policy;
mod quota;
#[cfg(test)]
mod schedules;
mod store;
mod window;

pub use config::Options;
pub use decision::{Decision, Decisions, Refusal};
pub use error::Error;
pub use gcra::Gcra;
pub use limiter::{Charge, MAX_CHARGES, RateLimiter};
pub use memory::{Memory, Usage};
pub use policy::{Policy, Rule};
pub use quota::{MAX_BUCKETS, MAX_NAME, MAX_WINDOW, Outage, Quota};
pub use store::{Debit, Mode, Receipt, Store, Verdict, Verdicts};
pub use window::Window;
