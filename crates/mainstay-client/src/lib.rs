//! x
#![allow(dead_code)]
mod reach;
mod resolver;
pub use reach::Reach;
