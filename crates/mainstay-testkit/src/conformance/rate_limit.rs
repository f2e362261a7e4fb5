//! The contract of `mainstay_core::rate_limit`.
