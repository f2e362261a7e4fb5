//! The container: what is injected, for how long it lives, what is refused, what starts and stops.
#![allow(clippy::unwrap_used)]

mod errors;
mod graph;
mod hooks;
mod injection;
mod model;
mod scopes;

use std::sync::{Arc, Mutex};

/// What happened, in order.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    fn push(&self, entry: impl Into<String>) {
        self.0.lock().unwrap().push(entry.into());
    }

    fn entries(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}
