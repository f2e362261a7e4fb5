//! Retries: what is tried again, when, and who pays.

mod budget;
mod calls;
mod chain;
