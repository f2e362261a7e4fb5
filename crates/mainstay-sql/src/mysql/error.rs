//! The codes of MySQL (<https://dev.mysql.com/doc/mysql-errors/8.0/en/server-error-reference.html>) and MariaDB as
//! our errors.

use std::time::Duration;

use sqlx::mysql::MySqlDatabaseError;

use crate::Error;

/// What to do about a server that takes no writes.
const PRIMARY: &str = "point DATABASE_URL at the primary server";

pub(super) fn translate(error: sqlx::Error, place: &str, backstop: Duration) -> Error {
    match error {
        sqlx::Error::Database(error) => match error.try_downcast::<MySqlDatabaseError>() {
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
        sqlx::Error::Database(error) => error
            .try_downcast_ref::<MySqlDatabaseError>()
            // Shutdown, killed, time-outs of an idle connection; a packet too large, after which the server hangs up; no
            // writes.
            .is_some_and(|error| {
                matches!(error.number(), 1053 | 1077..=1079 | 1153 | 1317 | 1927 | 4031 | 1290 | 1792 | 1836)
            }),
        sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::Protocol(_) => true,
        _ => false,
    }
}

fn from_code(error: MySqlDatabaseError, place: &str, backstop: Duration) -> Error {
    let reason = error.message().to_owned();
    match error.number() {
        1062 | 1586 => Error::Conflict { constraint: violated(&reason) },
        1205 | 1213 | 3572 => Error::Busy { reason },
        // Two of MySQL, one of MariaDB.
        3024 | 1907 | 1969 => Error::Timeout { after: backstop },
        1290 | 1792 | 1836 => Error::ReadOnly { place: place.to_owned(), reason, remedy: PRIMARY },
        1021 | 1114 | 3675 => Error::Full { place: place.to_owned() },
        1034 | 1194 | 1712 | 1877 => Error::Corrupt { place: place.to_owned(), reason },
        1044 | 1045 | 1698 => Error::unavailable(format!(
            "{place}: {reason}; check the user and the password (DB_USER, DB_PASSWORD)"
        )),
        1049 => Error::unavailable(format!("{place}: {reason}; create it, or correct DB_NAME")),
        1040 | 1203 | 1226 => Error::unavailable(format!(
            "{place}: {reason}; the server is at its max_connections: lower DB_POOL_MAX or raise that"
        )),
        code @ (1053 | 1077..=1079 | 1129 | 1130 | 1158..=1161 | 1317 | 1927 | 4031) => {
            Error::unavailable(format!("{place}: {reason} (code {code})"))
        }
        _ => Error::Query { reason, source: Some(Box::new(error)) },
    }
}

/// The name of the key, which is all there is: `Duplicate entry 'value' for key 'table.name'` (MariaDB: `'name'`).
/// The value is not repeated.
fn violated(message: &str) -> String {
    let key = message.rsplit_once(" for key ").map(|(_, key)| key.trim_matches('\''));
    key.unwrap_or("a unique key").to_owned()
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_violated_key_is_named_without_the_value() {
        for (message, expected) in [
            ("Duplicate entry 'a@b.c' for key 'users.users_email_key'", "users.users_email_key"),
            ("Duplicate entry 'it's for key 'x'' for key 'users_email_key'", "users_email_key"),
            ("something else", "a unique key"),
        ] {
            assert_eq!(super::violated(message), expected);
        }
    }
}
