//! Which requests a server that cannot keep up should refuse at once, so that the others are served in time.
//!
//! A server that accepts more than it can do answers everybody late, when nobody waits any more. What tells
//! an overload from a burst is not how long the queue is but whether it ever empties: the least time that a
//! request spent queueing in an interval. This is the idea of CoDel (Nichols and Jacobson, "Controlling Queue
//! Delay", ACM Queue, 2012), in the form that Facebook made of it for request queues (Maurer, "Fail at
//! Scale", ACM Queue, 2015): while the server is overloaded only what did not queue for long is served.
//! Priorities are added here.
//!
//! # Promise
//! 1. The server is overloaded for an interval if in the one before no request queued for less than
//!    [`Policy::target`]. (Or at most: equal to it is in time.) A burst that the queue absorbs sheds nothing.
//! 2. While it is overloaded, [`Priority::Low`] requests are shed that queued for longer than the target, and
//!    [`Priority::Normal`] ones for longer than twice the target. [`Priority::Critical`] ones never are, nor
//!    do they count: health and admin traffic does not hide an overload, nor is it hidden by one.
//! 3. A decision takes no lock and allocates nothing.
//!
//! # Not promised
//! - How long a request has queued: whoever asks has measured it, from when it was read to when its handler
//!   could begin.
//! - Exactness where threads ask in the same microsecond that an interval ends: one of them ends it, and a
//!   delay may be counted in the next.
//!
//! # If the store is down
//! There is none: a server judges its own queue.
//!
//! # Defaults
//! A target of 5 ms in intervals of 100 ms; who is shed is told to come back after a second. See [`Policy`].
//!
//! # Metrics
//! - `shed_requests_total{name, priority}`: requests refused.
//! - `shed_overloaded{name}`: 1 while the server is overloaded, else 0.
//!
//! ```
//! use mainstay_core::metrics::Metrics;
//! use mainstay_core::shed::{Policy, Priority, Shedder};
//! use mainstay_core::time::Clock;
//! use std::time::Duration;
//!
//! let shedder = Shedder::new("http", Policy::default(), &Metrics::new(), Clock::system())?;
//! let queued = Duration::from_millis(80);
//! assert!(shedder.admit(Priority::Normal, queued).is_ok(), "one slow request is no overload");
//! # Ok::<(), mainstay_core::policy::PolicyError>(())
//! ```

mod codel;
mod instruments;
mod policy;
mod shedder;

pub use crate::policy::PolicyError;
pub use policy::{Policy, Priority};
pub use shedder::{Shed, Shedder};
