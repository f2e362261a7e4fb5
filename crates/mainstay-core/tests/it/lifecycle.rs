//! Promises of `lifecycle`.
