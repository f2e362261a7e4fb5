//! How many calls at once a dependency can take, found out from how it answers.
//!
//! The right limit of a [bulkhead](crate::bulkhead) is capacity times latency, and both change. Here the
//! limit grows while calls are answered as fast as without a queue, shrinks in proportion to how much slower
//! they become, and gives way at once to timeouts and refusals. Gradient, tolerance, smoothing and the rule
//! that only a limit in use is judged are those of Netflix' concurrency-limits (`Gradient2Limit`,
//! "Performance Under Load", 2018). Its long-term average latency follows the queue under load that lasts,
//! and lets the limit grow for ever; so what "without a queue" means is measured here, as BBR (Cardwell et
//! al., ACM Queue, 2016) and Envoy's adaptive concurrency filter do: from time to time the limit is halved
//! for a few calls. A decrease on overload is that of TCP: once per round of calls, however many of them
//! fail.
//!
//! # Promise
//! 1. No more than the limit are out, and the limit stays within [`Policy::min`] and [`Policy::max`].
//! 2. Under steady load it comes to within a factor of 2 of what the dependency can work on at once, and
//!    follows it when that changes.
//! 3. A limit that is not in use, less than half of it out, is not judged: a quiet night does not raise it.
//! 4. A slot that is dropped frees its place and says nothing about the dependency: cancelled calls, errors
//!    of the caller's own.
//!
//! # Not promised
//! - A line: what is over the limit is refused. Put a [bulkhead](crate::bulkhead) before it if callers may
//!   wait.
//! - To tell a slower dependency from a queue before the next probe: until then it is treated as a queue.
//!
//! # If the store is down
//! There is none: each process finds out for itself.
//!
//! # Defaults
//! From 20, within 4 and 1,000; tolerates 1.2 times the latency without a queue; measures that every 10 s,
//! with the limit halved for two rounds of calls. See [`Policy`].
//!
//! # Metrics
//! - `adaptive_limit{name}`, `adaptive_in_flight{name}`: the limit, and calls that are out.
//! - `adaptive_refused_total{name}`: calls that got no slot.
//! - `adaptive_overloaded_total{name}`: calls that ended in a timeout or a refusal.
//!
//! ```
//! use mainstay_core::adaptive::{Adaptive, Policy};
//! use mainstay_core::metrics::Metrics;
//! use mainstay_core::time::Clock;
//!
//! let search = Adaptive::new("search", Policy::default(), &Metrics::new(), Clock::system())?;
//! let slots: Vec<_> = (0..20).map(|_| search.try_acquire().unwrap()).collect();
//! assert!(search.try_acquire().is_err());
//! for slot in slots {
//!     slot.overloaded();
//! }
//! assert_eq!(search.limit(), 18, "nine tenths, once for all that were out together");
//! # Ok::<(), mainstay_core::policy::PolicyError>(())
//! ```

#[expect(clippy::module_inception, reason = "the handle has the part's name")]
mod adaptive;
mod control;
mod instruments;
mod policy;

pub use crate::policy::PolicyError;
pub use adaptive::{Adaptive, Full, Slot};
pub use policy::{MAX_LIMIT, Policy};
