//! A store of `mainstay_core::rate_limit` that fails on purpose.
