//! The contract of `mainstay_core::event`.
