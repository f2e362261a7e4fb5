//! `[database]`

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::check;
use crate::config::field::{Field, Kind};
use crate::config::section::{Checks, Section, defaults};
use crate::secret::Secret;

/// Which database speaks at the other end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Dialect {
    /// A file in this process.
    Sqlite,
    /// PostgreSQL.
    Postgres,
    /// MySQL.
    Mysql,
    /// MariaDB.
    Mariadb,
}

/// The database. With neither `url` nor `dialect` the service uses SQLite in
/// `data/<service_name>.db`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Database {
    /// `DATABASE_URL`: instead of the single settings; secret because it may hold a password.
    pub url: Option<Secret<String>>,
    /// `DATABASE_READ_URL`: a server that follows the one above, for reads that may be a little behind.
    pub read_url: Option<Secret<String>>,
    /// `DB_DIALECT`
    pub dialect: Option<Dialect>,
    /// `DB_HOST`
    pub host: Option<String>,
    /// `DB_PORT`: unset means the dialect's usual port.
    pub port: Option<u16>,
    /// `DB_NAME`: the database, or SQLite's file.
    pub name: Option<String>,
    /// `DB_USER`
    pub user: Option<String>,
    /// `DB_PASSWORD`
    pub password: Option<Secret<String>>,
    /// `DB_POOL_MAX`: most connections.
    pub pool_max: u32,
    /// `DB_POOL_MIN`: connections kept open when idle.
    pub pool_min: u32,
    /// `DB_POOL_ACQUIRE`: longest wait for a connection.
    #[serde(with = "crate::config::millis")]
    pub pool_acquire: Duration,
    /// `DB_POOL_IDLE`: when an idle connection is closed.
    #[serde(with = "crate::config::millis")]
    pub pool_idle: Duration,
    /// `DB_SLOW_QUERY`: queries that take longer are logged.
    #[serde(with = "crate::config::millis")]
    pub slow_query: Duration,
}

impl Section for Database {
    const NAME: &'static str = "database";
    const FIELDS: &'static [Field] = &[
        Field::new("url", Kind::Secret, "Database to use, instead of the single settings")
            .env(&["DATABASE_URL"])
            .check("a URL that starts with sqlite://, postgres:// or mysql://", check::database_url)
            .restart_only(),
        Field::new("read_url", Kind::Secret, "Server that follows it, for reads that may be a little behind")
            .env(&["DATABASE_READ_URL"])
            .check("a URL that starts with postgres:// or mysql://", check::database_url)
            .restart_only(),
        Field::new("dialect", Kind::Enum(&["sqlite", "postgres", "mysql", "mariadb"]), "Kind of database")
            .env(&["DB_DIALECT"])
            .restart_only(),
        Field::new("host", Kind::Text, "Host").env(&["DB_HOST"]).restart_only(),
        Field::new(
            "port",
            Kind::Integer { min: 1, max: 65_535 },
            "Port; unset means the dialect's usual one",
        )
        .env(&["DB_PORT"])
        .restart_only(),
        Field::new("name", Kind::Text, "Name of the database, or SQLite's file")
            .env(&["DB_NAME"])
            .restart_only(),
        Field::new("user", Kind::Text, "User").env(&["DB_USER"]).restart_only(),
        Field::new("password", Kind::Secret, "Password").env(&["DB_PASSWORD"]).restart_only(),
        Field::new("pool_max", Kind::Integer { min: 1, max: 10_000 }, "Most connections")
            .env(&["DB_POOL_MAX"])
            .default("10")
            .restart_only(),
        Field::new("pool_min", Kind::Integer { min: 0, max: 10_000 }, "Connections kept open when idle")
            .env(&["DB_POOL_MIN"])
            .default("0")
            .restart_only(),
        Field::new("pool_acquire", Kind::PERIOD, "Longest wait for a connection")
            .env(&["DB_POOL_ACQUIRE"])
            .default("30s")
            .restart_only(),
        Field::new("pool_idle", Kind::PERIOD, "When an idle connection is closed")
            .env(&["DB_POOL_IDLE"])
            .default("10s")
            .restart_only(),
        Field::new("slow_query", Kind::DURATION, "Queries that take longer are logged")
            .env(&["DB_SLOW_QUERY"])
            .default("200ms")
            .restart_only(),
    ];

    fn validate(&self, checks: &mut Checks<'_>) {
        if self.pool_min > self.pool_max {
            checks.refuse(&["pool_min", "pool_max"], "must not exceed the largest size of the pool");
        }
        let single = [
            ("host", self.host.is_some()),
            ("port", self.port.is_some()),
            ("name", self.name.is_some()),
            ("user", self.user.is_some()),
            ("password", self.password.is_some()),
        ];
        let single = single.into_iter().filter_map(|(name, set)| set.then_some(name));
        match self.dialect {
            _ if self.url.is_some() => {
                for name in self.dialect.map(|_| "dialect").into_iter().chain(single) {
                    checks.refuse(
                        &[name, "url"],
                        "cannot be combined with a URL, which says it all; set one of them",
                    );
                }
            }
            None => {
                for name in single {
                    checks.refuse(&[name, "dialect"], "needs the dialect as well");
                }
            }
            Some(Dialect::Postgres | Dialect::Mysql | Dialect::Mariadb) if self.name.is_none() => {
                checks.refuse(&["dialect", "name"], "needs the name of the database as well");
            }
            Some(_) => {}
        }
    }
}

impl Default for Database {
    fn default() -> Self {
        defaults()
    }
}
