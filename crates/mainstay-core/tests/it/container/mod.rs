//! The container: what is injected, for how long it lives, what is refused, what starts and stops.

mod errors;
mod graph;
mod hooks;
mod injection;
mod model;
mod scopes;

use crate::log::Log;
