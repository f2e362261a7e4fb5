//! `mainstay_core::rate_limit`.
