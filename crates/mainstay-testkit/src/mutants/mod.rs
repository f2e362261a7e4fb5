//! Stores with one bug each, seeded on purpose: a suite that does not convict every one of them is not worth
//! its time.

pub mod cache;
pub mod event;
pub mod lock;
pub mod rate_limit;
