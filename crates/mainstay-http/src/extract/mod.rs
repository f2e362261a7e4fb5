//! Extractors whose refusals are problems that name the field.
//!
//! They wrap axum's own, so that a handler written for axum needs only another import.

mod fence;
mod json;
mod path;
mod query;

pub use fence::{FenceHeader, InvalidFenceHeader};
pub use json::Json;
pub use path::Path;
pub use query::Query;

use crate::{FieldError, Problem};

/// A refusal of `serde_path_to_error`: the place in the input and the reason.
fn refuse(error: &serde_path_to_error::Error<impl std::fmt::Display>) -> Problem {
    let path = error.path().to_string();
    let field = if path == "." { String::new() } else { path };
    Problem::validation([FieldError::new(field, "type", bounded(&error.inner().to_string()))])
}

/// Serde repeats parts of the input in its messages; keep what it repeats short.
fn bounded(message: &str) -> String {
    const MAX: usize = 200;
    match message.char_indices().nth(MAX) {
        Some((end, _)) => format!("{}…", &message[..end]),
        None => message.to_owned(),
    }
}
