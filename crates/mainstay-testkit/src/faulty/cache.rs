//! A store of `mainstay_core::cache` that fails on purpose.
