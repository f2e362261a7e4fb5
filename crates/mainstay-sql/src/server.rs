//! A database server: where it is, who we are there, how the way to it is secured.

use std::fmt;
use std::path::PathBuf;

use mainstay_core::secret::Secret;
use percent_encoding::percent_decode_str;
use url::Url;

use crate::Error;

/// How a connection to a database server is secured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Tls {
    /// Never.
    Disable,
    /// If the server can, without looking at its certificate: secret from listeners, not from impostors.
    #[default]
    Prefer,
    /// Always, without looking at the certificate.
    Require,
    /// Always, and the certificate is by an authority we trust.
    VerifyCa,
    /// Always, and the certificate is by an authority we trust, for this host.
    VerifyFull,
}

impl Tls {
    /// By the names of both families.
    fn parse(name: &str) -> Option<Self> {
        Some(match name.to_ascii_lowercase().as_str() {
            "disable" | "disabled" => Self::Disable,
            "prefer" | "preferred" => Self::Prefer,
            "require" | "required" => Self::Require,
            "verify-ca" | "verify_ca" => Self::VerifyCa,
            "verify-full" | "verify_identity" => Self::VerifyFull,
            _ => return None,
        })
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Server {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) user: Option<String>,
    pub(crate) password: Option<Secret<String>>,
    pub(crate) database: String,
    pub(crate) tls: Tls,
    /// PEM file of the authorities to trust; unset means those that browsers trust.
    pub(crate) root_certificate: Option<PathBuf>,
}

impl Server {
    pub(crate) fn new(host: String, port: u16, database: String) -> Self {
        Self { host, port, user: None, password: None, database, tls: Tls::default(), root_certificate: None }
    }

    /// Reads `scheme://user:password@host:port/database?sslmode=…`; refuses what it does not understand, without
    /// repeating it, since it may hold a password.
    pub(crate) fn parse(url: &str, usual_port: u16) -> Result<Self, Error> {
        let refuse = |reason: &str| Error::Options { reason: reason.to_owned() };
        let url = Url::parse(url).map_err(|error| refuse(&format!("not a URL: {error}")))?;
        let text = |part: &str, what: &str| match percent_decode_str(part).decode_utf8() {
            Ok(text) => Ok(text.into_owned()),
            Err(_) => Err(refuse(&format!("the {what} is not UTF-8 after percent-decoding"))),
        };
        let host = url.host_str().filter(|host| !host.is_empty());
        let host =
            host.ok_or_else(|| refuse("the URL names no host, as in postgres://user@host/database"))?;
        let database = text(url.path().trim_start_matches('/'), "name of the database")?;
        if database.is_empty() || database.contains('/') {
            return Err(refuse("the URL names no database, as in postgres://user@host/database"));
        }
        // An IPv6 address stands in brackets.
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let mut server = Self::new(text(host, "host")?, url.port().unwrap_or(usual_port), database);
        if !url.username().is_empty() {
            server.user = Some(text(url.username(), "user")?);
        }
        if let Some(password) = url.password() {
            server.password = Some(Secret::new(text(password, "password")?));
        }
        for (name, value) in url.query_pairs() {
            match &*name {
                "sslmode" | "ssl-mode" => {
                    let refused = "sslmode is one of disable, prefer, require, verify-ca, verify-full";
                    server.tls = Tls::parse(&value).ok_or_else(|| refuse(refused))?;
                }
                "sslrootcert" | "ssl-ca" => server.root_certificate = Some(PathBuf::from(&*value)),
                _ => {
                    return Err(refuse(
                        "a parameter after ? is not understood; there are sslmode and sslrootcert, and the DB_* settings",
                    ));
                }
            }
        }
        Ok(server)
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}/{}", self.host, self.port, self.database)
    }
}
