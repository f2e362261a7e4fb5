//! `mainstay_core::cache`.
