//! Promises of `health`.
