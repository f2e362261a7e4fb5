//! PostgreSQL's codes (<https://www.postgresql.org/docs/current/errcodes-appendix.html>) as our errors.

use std::time::Duration;

use sqlx::postgres::PgDatabaseError;

use crate::Error;

/// What to do about a server that takes no writes.
const PRIMARY: &str = "point DATABASE_URL at the primary server";

pub(super) fn translate(error: sqlx::Error, place: &str, backstop: Duration) -> Error {
    match error {
        sqlx::Error::Database(error) => match error.try_downcast::<PgDatabaseError>() {
            Ok(error) => from_code(*error, place, backstop),
            Err(error) => {
                Error::Query { reason: error.message().to_owned(), source: Some(error.into_error()) }
            }
        },
        sqlx::Error::ColumnDecode { index, source } => {
            Error::Decode { column: index, reason: source.to_string() }
        }
        sqlx::Error::Io(error) => Error::unavailable(format!("{place}: {error}")),
        sqlx::Error::Tls(error) => Error::unavailable(format!("{place}: TLS: {error}")),
        sqlx::Error::Protocol(reason) => Error::unavailable(format!("{place}: {reason}")),
        other => Error::Query { reason: other.to_string(), source: Some(Box::new(other)) },
    }
}

/// Whether the connection is of no use any more. One to a server that takes no writes is not: where it leads may have
/// handed over to another, which only a new connection finds.
pub(super) fn ends_connection(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Database(error) => error.code().is_some_and(|code| {
            code.starts_with("08") || code.starts_with("57P") || matches!(&*code, "25006" | "25P03")
        }),
        sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::Protocol(_) => true,
        _ => false,
    }
}

fn from_code(error: PgDatabaseError, place: &str, backstop: Duration) -> Error {
    let reason = error.message().to_owned();
    match error.code() {
        "23505" => Error::Conflict { constraint: violated(&error) },
        "40001" | "40P01" | "55P03" => Error::Busy { reason },
        "57014" => Error::Timeout { after: backstop },
        "25006" => Error::ReadOnly { place: place.to_owned(), reason, remedy: PRIMARY },
        "53100" => Error::Full { place: place.to_owned() },
        "XX001" | "XX002" => Error::Corrupt { place: place.to_owned(), reason },
        "28000" | "28P01" => Error::unavailable(format!(
            "{place}: {reason}; check the user and the password (DB_USER, DB_PASSWORD)"
        )),
        "3D000" => Error::unavailable(format!("{place}: {reason}; create it, or correct DB_NAME")),
        "53300" => Error::unavailable(format!(
            "{place}: {reason}; the server is at its max_connections: lower DB_POOL_MAX or raise that"
        )),
        code if ["08", "53", "57", "58"].iter().any(|class| code.starts_with(class)) || code == "25P03" => {
            Error::unavailable(format!("{place}: {reason} (code {code})"))
        }
        _ => Error::Query { reason, source: Some(Box::new(error)) },
    }
}

/// `table.column, table.column` out of `Key (column, column)=(value, value) already exists.`, without the values;
/// otherwise the name of the constraint.
fn violated(error: &PgDatabaseError) -> String {
    let columns = || {
        let (columns, _) = error.detail()?.strip_prefix("Key (")?.split_once(")=(")?;
        let table = error.table()?;
        Some(columns.split(", ").map(|column| format!("{table}.{column}")).collect::<Vec<_>>().join(", "))
    };
    columns().or_else(|| error.constraint().map(str::to_owned)).unwrap_or_else(|| "a unique key".to_owned())
}
