//! `mainstay_core::rate_limit`.

mod contract;
