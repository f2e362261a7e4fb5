//! Promises of `config`.
