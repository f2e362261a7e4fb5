//! Stores of `mainstay_core::lock` with one bug each.
