//! PostgreSQL from 13 on.
//!
//! A statement that is given up is ended at the server through another connection, which takes a moment that nobody
//! waits for; its own connection is closed. See `connection.rs`.

mod codec;
mod connection;
mod error;
mod migrate;
mod numeric;
mod placeholder;

use std::fmt;
use std::time::Duration;

use sqlx::ConnectOptions as _;
use sqlx::postgres::{PgConnectOptions, PgSslMode};

use crate::options::Location;
use crate::pooled::Pooled;
use crate::server::{Server, Tls};
use crate::{Error, Options};
use connection::Connection;
use placeholder::Texts;

/// Where a connection leads, and what the connections share.
pub(crate) struct Target {
    options: PgConnectOptions,
    name: String,
    /// After how long the server ends a statement by itself, should nobody be left to tell it.
    backstop: Duration,
    texts: Texts,
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

pub(crate) async fn open(server: &Server, options: &Options) -> Result<Pooled<Connection>, Error> {
    let replica = match &options.replica {
        Some(Location::Postgres(server)) => Some(target(server, options)),
        _ => None,
    };
    Pooled::at_server(target(server, options), replica, options).await
}

fn target(server: &Server, options: &Options) -> Target {
    Target {
        options: connect_options(server),
        name: format!("PostgreSQL at {server}"),
        backstop: options.statement_timeout.saturating_add(Duration::from_secs(5)),
        texts: Texts::default(),
    }
}

/// Nothing from a password file, which only a person's own tools read.
fn connect_options(server: &Server) -> PgConnectOptions {
    let mut options = PgConnectOptions::new_without_pgpass()
        .host(&server.host)
        .port(server.port)
        .database(&server.database)
        .ssl_mode(match server.tls {
            Tls::Disable => PgSslMode::Disable,
            Tls::Prefer => PgSslMode::Prefer,
            Tls::Require => PgSslMode::Require,
            Tls::VerifyCa => PgSslMode::VerifyCa,
            Tls::VerifyFull => PgSslMode::VerifyFull,
        });
    if let Some(user) = &server.user {
        options = options.username(user);
    }
    if let Some(password) = &server.password {
        options = options.password(password.expose());
    }
    if let Some(file) = &server.root_certificate {
        options = options.ssl_root_cert(file);
    }
    options.disable_statement_logging()
}
