//! SQLite's result codes (<https://sqlite.org/rescode.html>) as our errors.

use std::path::Path;

use sqlx::error::DatabaseError;

use crate::Error;

/// What to do about a file that cannot be written.
pub(super) const WRITABLE: &str =
    "make the file and its directory writable for this user, or point DATABASE_URL at a writable directory";

const UNIQUE_PREFIX: &str = "UNIQUE constraint failed: ";

pub(super) fn translate(error: sqlx::Error, path: &Path) -> Error {
    match error {
        sqlx::Error::Database(error) => from_code(error, path),
        sqlx::Error::ColumnDecode { index, source } => {
            Error::Decode { column: index, reason: source.to_string() }
        }
        sqlx::Error::WorkerCrashed => Error::unavailable("the connection's worker thread ended"),
        sqlx::Error::Io(error) => Error::unavailable(format!("{}: {error}", path.display())),
        other => Error::Query { reason: other.to_string(), source: Some(Box::new(other)) },
    }
}

fn from_code(error: Box<dyn DatabaseError>, path: &Path) -> Error {
    let code: i32 = error.code().and_then(|code| code.parse().ok()).unwrap_or_default();
    let reason = error.message().to_owned();
    let place = path.display().to_string();
    // The low byte is the primary code, the rest refines it.
    match code & 0xff {
        5 | 6 => Error::Busy { reason },
        8 => Error::ReadOnly { place, reason, remedy: WRITABLE },
        10 | 14 => Error::unavailable(format!("{}: {reason} (code {code})", path.display())),
        11 | 26 => Error::Corrupt { place, reason },
        13 => Error::Full { place },
        19 if error.is_unique_violation() => {
            Error::Conflict { constraint: reason.strip_prefix(UNIQUE_PREFIX).unwrap_or(&reason).to_owned() }
        }
        _ => Error::Query { reason, source: Some(error.into_error()) },
    }
}
