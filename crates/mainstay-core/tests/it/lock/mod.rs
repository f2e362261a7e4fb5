//! `mainstay_core::lock`.
