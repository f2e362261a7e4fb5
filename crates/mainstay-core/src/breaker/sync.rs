//! What the gate shares between threads. A test compiles the gate with a model checker's types in this place.

pub(super) use std::sync::atomic::{AtomicBool, AtomicU64};
pub(super) use std::sync::{Mutex, MutexGuard};
