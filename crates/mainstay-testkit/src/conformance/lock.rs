//! The contract of `mainstay_core::lock`.
