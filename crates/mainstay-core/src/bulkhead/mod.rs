//! A dependency that hangs must not take all there is: so many calls at once, and a short line for the
//! others.
//!
//! The line is tokio's [`Semaphore`](tokio::sync::Semaphore), which is first come, first served and loses no
//! wake-up when a waiter is dropped. Added here: the bounds of the line, the deadline, and a size that
//! changes live.
//!
//! # Promise
//! 1. At most [`Policy::max_concurrent`] slots are out, and at most [`Policy::max_waiting`] callers wait.
//! 2. Who waits gets a slot in the order of asking; nobody who comes later is faster.
//! 3. Nobody waits for longer than [`Policy::max_wait`], nor beyond the [deadline](crate::deadline).
//! 4. Dropping a slot, or a future that waits for one, at any time, frees what it had and wakes the next.
//! 5. [`Bulkhead::configure`] takes no slot away: what is out beyond a smaller size drains as calls end.
//! 6. To take a slot that is free allocates nothing.
//!
//! # Not promised
//! - That a slot bounds work which goes on after it is dropped.
//! - A [`Policy::max_waiting`] that gets smaller sends nobody away who waits already.
//!
//! # If the store is down
//! There is none: a bulkhead lives in its process.
//!
//! # Defaults
//! 100 calls, 100 that wait, for a second at most. See [`Policy`].
//!
//! # Metrics
//! - `bulkhead_in_flight{name}`, `bulkhead_waiting{name}`: calls that have a slot, and that wait for one.
//! - `bulkhead_refused_total{name, reason}`: `queue` (the line was full), `wait` (it took too long),
//!   `deadline`.
//! - `bulkhead_wait_seconds{name}`: how long those waited that had to and got a slot.
//!
//! ```
//! # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
//! use mainstay_core::bulkhead::{Bulkhead, Policy};
//! use mainstay_core::metrics::Metrics;
//! use mainstay_core::time::Clock;
//!
//! let mut policy = Policy::default();
//! policy.max_concurrent = 1;
//! let reports = Bulkhead::new("reports", policy, &Metrics::new(), Clock::system())?;
//! let slot = reports.acquire().await.unwrap();
//! assert!(reports.try_acquire().is_err());
//! drop(slot);
//! assert!(reports.try_acquire().is_ok());
//! # Ok::<(), mainstay_core::policy::PolicyError>(()) }).unwrap();
//! ```

#[expect(clippy::module_inception, reason = "the handle has the part's name")]
mod bulkhead;
mod error;
mod instruments;
mod policy;

pub use crate::policy::PolicyError;
pub use bulkhead::{Bulkhead, Slot};
pub use error::{Full, Refusal};
pub use policy::{MAX_PLACES, Policy};
