//! Black-box tests of `mainstay-auth`, one module per promise. A new test goes into the module whose
//! promise it proves.
#![allow(missing_docs, clippy::unwrap_used)]
mod keys;
mod revocation;
mod session;
mod token;
