//! A store of `mainstay_core::event` that fails on purpose.
