//! Helpers for testing services built on Mainstay. Only ever a dev-dependency.
//!
//! - [`Service`] runs a service's binary in a directory and with an environment of its own.
//! - [`http`] speaks HTTP over a plain socket, so that a test sees every byte and may send bad ones.
//! - [`eventually`] and [`eventually_async`] wait for a condition: the only waiting a test needs.
//! - [`conformance`] is the contracts as cases; [`faulty`] and [`mutants`] are the stores they must see through.
//! - [`redis`] runs real Redis servers that a test kills, freezes and cuts off.
//! - [`sql`] runs real PostgreSQL and MariaDB servers, with the same faults.
//! - [`worker`] runs a part of a test in further processes.
//! - [`TestClock`] is a clock a test holds in its hand.
//! - [`Port`] is a free port, for what cannot listen on port 0.
//! - [`Seed`] makes a random test replayable.
//! - [`program`] finds a program the test runs, or says how to install it; [`promtool`] judges metrics.
//!
//! Promises: every wait has a deadline, and the panic that ends it names what was awaited and the
//! line of the test. Nothing is shared between tests: no fixed port, no common directory.
//!
//! Not promised: a helper does not return an error where a test could only unwrap it; it panics. And
//! its deadlines are on tokio's clock: a test that pauses the clock must not talk to a real process or
//! socket, because the clock then leaps to the deadline while the answer is on its way.

mod clock;
pub mod conformance;
pub mod faulty;
mod freeze;
mod guard;
pub mod http;
pub mod mutants;
mod port;
mod program;
mod promtool;
pub mod redis;
mod seed;
mod service;
pub mod sql;
mod wait;
pub mod worker;

pub use clock::TestClock;
pub use port::Port;
pub use program::program;
pub use promtool::promtool;
pub use seed::{Rng, Seed};
pub use service::{Exit, Service, ServiceCommand, Signal};
pub use wait::{eventually, eventually_async};
