//! Stores of `mainstay_core::event` with one bug each.
