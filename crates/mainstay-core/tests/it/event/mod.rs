//! `mainstay_core::event`.
