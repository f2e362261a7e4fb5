//! MySQL from 8 on, and MariaDB.
//!
//! The session is made to behave as the other databases do: standard quotes, no silent truncation, read committed.
//! A statement that is given up is ended at the server through another connection (`KILL`); see `connection.rs`.

mod codec;
mod connection;
mod error;
mod migrate;

use std::fmt;
use std::time::Duration;

use sqlx::ConnectOptions as _;
use sqlx::mysql::{MySqlConnectOptions, MySqlSslMode};

use crate::options::Location;
use crate::pooled::Pooled;
use crate::server::{Server, Tls};
use crate::{Error, Options};
use connection::Connection;

/// Where a connection leads.
pub(crate) struct Target {
    options: MySqlConnectOptions,
    name: String,
    /// After how long the server ends a statement by itself, should nobody be left to tell it.
    backstop: Duration,
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

pub(crate) async fn open(server: &Server, options: &Options) -> Result<Pooled<Connection>, Error> {
    let replica = match &options.replica {
        Some(Location::Mysql(server)) => Some(target(server, options)),
        _ => None,
    };
    Pooled::at_server(target(server, options), replica, options).await
}

fn target(server: &Server, options: &Options) -> Target {
    Target {
        options: connect_options(server),
        name: format!("MySQL at {server}"),
        backstop: options.statement_timeout.saturating_add(Duration::from_secs(5)),
    }
}

fn connect_options(server: &Server) -> MySqlConnectOptions {
    let mut options =
        MySqlConnectOptions::new().host(&server.host).port(server.port).database(&server.database).ssl_mode(
            match server.tls {
                Tls::Disable => MySqlSslMode::Disabled,
                Tls::Prefer => MySqlSslMode::Preferred,
                Tls::Require => MySqlSslMode::Required,
                Tls::VerifyCa => MySqlSslMode::VerifyCa,
                Tls::VerifyFull => MySqlSslMode::VerifyIdentity,
            },
        );
    if let Some(user) = &server.user {
        options = options.username(user);
    }
    if let Some(password) = &server.password {
        options = options.password(password.expose());
    }
    if let Some(file) = &server.root_certificate {
        options = options.ssl_ca(file);
    }
    options.disable_statement_logging()
}
