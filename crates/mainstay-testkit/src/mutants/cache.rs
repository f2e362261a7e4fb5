//! Stores of `mainstay_core::cache` with one bug each.
