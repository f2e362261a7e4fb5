//! The contract of `mainstay_core::cache`.
