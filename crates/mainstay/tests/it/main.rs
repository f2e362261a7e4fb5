//! Black-box tests of a whole app. One module per subject: `otlp` (export of traces). A new test goes
//! into the module of the promise it proves.
#![allow(missing_docs, clippy::unwrap_used)]

#[cfg(feature = "otlp")]
mod otlp;
