//! Which SQL the database at the other end speaks.

use std::fmt;

/// A family of databases whose statements are alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Dialect {
    /// SQLite, in this process.
    Sqlite,
    /// PostgreSQL from 13 on.
    Postgres,
    /// MySQL from 8 on, and MariaDB.
    Mysql,
}

impl fmt::Display for Dialect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sqlite => "SQLite",
            Self::Postgres => "PostgreSQL",
            Self::Mysql => "MySQL",
        })
    }
}
