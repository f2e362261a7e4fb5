//! When a dependency is down, stop asking it for a while.
//!
//! # Promise
//! 1. (B1) A half-open breaker has at most [`Policy::probes`] calls under way, whatever the schedule. One whose
//!    lease is over counts as failed and no longer as under way.
//! 2. (B2) No state is for ever: while calls come that succeed, it is closed after at most `open_max` +
//!    `probes` · `probe_lease`.
//! 3. (B3) Each permit has one outcome: said, or cancelled. To drop it, to cancel the call or to panic in it decides
//!    nothing and leaks nothing. A panic of who judges the result counts as a failure.
//! 4. (B4) The window truly slides, and its rates are what counting anew would give. [`Window::Count`] holds the last
//!    n outcomes; [`Window::Time`] those of the current tenth of its time and the nine before. Outcomes of several
//!    threads at the same moment count all, in one of the orders they can have come in.
//! 5. Results of calls from before the last change of state decide nothing.
//! 6. Letting a call through a closed breaker takes no lock, nor does refusing one. A success takes none either, once
//!    the window holds `min_calls`, but for one per bucket of a time window; and threads whose calls succeed share no
//!    cache line that they write to. The clock is read only for slow calls, long cancellations and windows of
//!    time. None of this allocates.
//!
//! # Not promised
//! - That an open breaker becomes half-open by itself: that happens when a call comes after its time.
//! - State shared between processes: one that is cut off would cut off all. Each instance learns for itself.
//! - That no more than `probes` calls reach the dependency in a round of probes that are cancelled or ignored:
//!   others take their place.
//! - The order in which two threads tell of two changes: [`Change::generation`] has it.
//!
//! # If the store is down
//! There is none: a breaker lives in its process.
//!
//! # Defaults
//! Opens when half of the last 100 calls failed, of at least 20, for 5 s at first and 60 s at most; closes when 3 of
//! 5 probes succeed. Slow calls are not looked for. See [`Policy`]. Memory: 128 bytes for each of twice as many stripes as cores, and 16 bytes for each
//! failure or slow call in a count window.
//!
//! # Metrics
//! - `breaker_state{name}`: 0 closed, 1 half-open, 2 open.
//! - `breaker_calls_total{name, outcome}`: `success`, `slow` (a success that took too long), `failure`, `ignored`,
//!   `cancelled`; every permit once, except while [`Mode::Disabled`].
//! - `breaker_not_permitted_total{name}`: refused calls; in [`Mode::Observe`] those it would have refused.
//! - `breaker_transitions_total{name, to}`: changes of state; `to` is `closed`, `open` or `half_open`.
//! - `breaker_late_outcomes_total{name}`: calls that ended after the state had changed: they decided nothing.
//! - `breaker_lost_probes_total{name}`: probes that outlived their lease.
//!
//! ```
//! # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
//! use mainstay_core::breaker::{Breaker, Error, Policy, State};
//! use mainstay_core::metrics::Metrics;
//! use mainstay_core::time::Clock;
//! use std::time::Duration;
//!
//! let policy = Policy::consecutive(3, Duration::from_secs(30));
//! let billing = Breaker::new("billing", policy, &Metrics::new(), Clock::system())?;
//! for _ in 0..3 {
//!     let charge = billing.call(|| async { Err::<(), _>(std::io::Error::other("no answer")) });
//!     assert!(matches!(charge.await, Err(Error::Inner(_))));
//! }
//! assert_eq!(billing.state(), State::Open);
//! let refused = billing.try_acquire().unwrap_err();
//! assert!(refused.retry_after > Duration::from_secs(20));
//! # Ok::<(), mainstay_core::breaker::PolicyError>(()) }).unwrap();
//! ```

#[expect(clippy::module_inception, reason = "the handle has the part's name")]
mod breaker;
mod breakers;
mod call;
mod change;
mod error;
mod gate;
mod instruments;
mod permit;
mod policy;
mod snapshot;
mod state;
mod sync;

pub use crate::policy::{MAX_NAME, PolicyError};
pub use breaker::Breaker;
pub use breakers::Breakers;
pub use call::Verdict;
pub use change::{Change, Reason};
pub use error::{Error, Open};
pub use permit::Permit;
pub use policy::{MAX_PROBES, MAX_TIME, MAX_WINDOW_CALLS, Policy, Window};
pub use snapshot::Snapshot;
pub use state::{Mode, State};
