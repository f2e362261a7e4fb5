//! Stores of `mainstay_core::rate_limit` with one bug each.
