//! Promises of `metrics`.
