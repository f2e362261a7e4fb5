//! A store of `mainstay_core::lock` that fails on purpose.
