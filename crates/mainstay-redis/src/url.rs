//! Deployments as URLs.

use mainstay_core::secret::Secret;

use crate::{Address, Deployment, Options};

const PORT: u16 = 6379;
const SENTINEL_PORT: u16 = 26379;

/// What is wrong with a URL. It quotes nothing of the URL, which may hold a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the URL of Redis: {part} {problem}")]
#[non_exhaustive]
pub struct InvalidUrl {
    /// The part that is wrong.
    pub part: &'static str,
    /// What is wrong with it.
    pub problem: &'static str,
}

const fn invalid(part: &'static str, problem: &'static str) -> InvalidUrl {
    InvalidUrl { part, problem }
}

impl Options {
    /// Options for the deployment that a URL names:
    ///
    /// | URL | deployment |
    /// |---|---|
    /// | `redis://[[user]:password@]host[:6379][/database]` | one server |
    /// | `redis+sentinel://[[user]:password@]host[:26379],…/master[/database]` | a primary that sentinels watch |
    /// | `redis+cluster://[[user]:password@]host[:6379],…` | a Cluster, of which these are some members |
    ///
    /// With `rediss` for `redis` all connections use TLS, those to sentinels too. User, password and the name of the
    /// master are percent-encoded; IPv6 addresses stand in brackets. User and password are those of the servers.
    /// Sentinels are given none, unless `?sentinel_password=…`, and perhaps `&sentinel_username=…`, ends the URL:
    /// their access list is apart from that of the servers, and a password is not shown to who does not need it.
    ///
    /// # Errors
    /// [`InvalidUrl`] names the part that is wrong.
    ///
    /// ```
    /// use mainstay_redis::{Address, Deployment, Options};
    ///
    /// let options = Options::parse("rediss+sentinel://:secret@a,b:26380/orders/2")?;
    /// let sentinels = vec![Address::new("a", 26379), Address::new("b", 26380)];
    /// assert_eq!(options.deployment, Deployment::Sentinel { sentinels, master: "orders".into() });
    /// assert_eq!(options.database, 2);
    /// # Ok::<_, mainstay_redis::InvalidUrl>(())
    /// ```
    pub fn parse(url: &str) -> Result<Self, InvalidUrl> {
        let (scheme, rest) = url.split_once("://").ok_or(invalid("scheme", "is missing"))?;
        let (security, kind) = scheme.split_once('+').unwrap_or((scheme, ""));
        let tls = match security {
            "redis" => false,
            "rediss" => true,
            _ => return Err(invalid("scheme", "is neither redis nor rediss")),
        };
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (user, hosts) =
            authority.rsplit_once('@').map_or((None, authority), |(user, hosts)| (Some(user), hosts));

        let (deployment, database) = match kind {
            "" => {
                let [address] = <[Address; 1]>::try_from(addresses(hosts, PORT)?)
                    .map_err(|_| invalid("host", "is one of several: that takes +sentinel or +cluster"))?;
                (Deployment::Standalone(address), database(path)?)
            }
            "sentinel" => {
                let (master, path) = path.split_once('/').unwrap_or((path, ""));
                let master = decoded(master, "name of the master")?;
                if master.is_empty() {
                    return Err(invalid("name of the master", "is missing"));
                }
                let sentinels = addresses(hosts, SENTINEL_PORT)?;
                (Deployment::Sentinel { sentinels, master }, database(path)?)
            }
            "cluster" => {
                if database(path)? != 0 {
                    return Err(invalid("database", "is not 0, the only one of a Cluster"));
                }
                (Deployment::Cluster { seeds: addresses(hosts, PORT)? }, 0)
            }
            _ => return Err(invalid("scheme", "names a deployment other than sentinel and cluster")),
        };

        let mut options = Self::new(deployment);
        options.database = database;
        options.tls = tls;
        if let Some(user) = user {
            (options.username, options.password) = credentials(user)?;
        }
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            options.set(pair)?;
        }
        Ok(options)
    }

    fn set(&mut self, pair: &str) -> Result<(), InvalidUrl> {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let value = decoded(value, "query")?;
        match (name, &self.deployment) {
            ("sentinel_username", Deployment::Sentinel { .. }) => self.sentinel_username = Some(value),
            ("sentinel_password", Deployment::Sentinel { .. }) => {
                self.sentinel_password = Some(Secret::new(value));
            }
            _ => return Err(invalid("query", "has a name that is not known for this deployment")),
        }
        Ok(())
    }
}

type Credentials = (Option<String>, Option<Secret<String>>);

fn credentials(text: &str) -> Result<Credentials, InvalidUrl> {
    let (user, password) = text
        .split_once(':')
        .ok_or(invalid("password", "is missing: a password without a user is written :password@"))?;
    let user = Some(decoded(user, "user")?).filter(|user| !user.is_empty());
    Ok((user, Some(Secret::new(decoded(password, "password")?))))
}

fn addresses(hosts: &str, port: u16) -> Result<Vec<Address>, InvalidUrl> {
    hosts.split(',').map(|host| address(host, port)).collect()
}

fn address(text: &str, default: u16) -> Result<Address, InvalidUrl> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, port) = rest.split_once(']').ok_or(invalid("host", "has no closing bracket"))?;
            if host.parse::<std::net::Ipv6Addr>().is_err() {
                return Err(invalid("host", "is no IPv6 address in its brackets"));
            }
            (host, port)
        }
        None => {
            let (host, port) = text.split_at(text.find(':').unwrap_or(text.len()));
            if port[port.len().min(1)..].contains(':') {
                return Err(invalid("host", "is an IPv6 address without brackets, or has two ports"));
            }
            (host, port)
        }
    };
    if host.is_empty() {
        return Err(invalid("host", "is missing"));
    }
    if !host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._:".contains(&byte)) {
        return Err(invalid(
            "host",
            "has a character that no host name has; those of a password are encoded",
        ));
    }
    match port.strip_prefix(':') {
        None if port.is_empty() => Ok(Address::new(host, default)),
        Some(digits) => match number(digits) {
            Some(port @ 1..) => Ok(Address::new(host, port)),
            _ => Err(invalid("port", "is no number from 1 to 65535")),
        },
        None => Err(invalid("host", "goes on after its closing bracket")),
    }
}

fn database(path: &str) -> Result<u16, InvalidUrl> {
    match path {
        "" => Ok(0),
        digits => number(digits).ok_or(invalid("database", "is no number")),
    }
}

/// Digits only: no sign.
fn number(digits: &str) -> Option<u16> {
    if digits.bytes().all(|byte| byte.is_ascii_digit()) { digits.parse().ok() } else { None }
}

fn decoded(text: &str, part: &'static str) -> Result<String, InvalidUrl> {
    let (mut bytes, mut rest) = (Vec::with_capacity(text.len()), text.as_bytes());
    while let Some((&byte, after)) = rest.split_first() {
        (bytes, rest) = match (byte, after) {
            (b'%', [high, low, after @ ..]) => {
                let digit = |byte: &u8| char::from(*byte).to_digit(16);
                let (Some(high), Some(low)) = (digit(high), digit(low)) else {
                    return Err(invalid(part, "has a % without two hexadecimal digits"));
                };
                bytes.extend(u8::try_from(high * 16 + low));
                (bytes, after)
            }
            (b'%', _) => return Err(invalid(part, "has a % without two hexadecimal digits")),
            (byte, after) => {
                bytes.push(byte);
                (bytes, after)
            }
        };
    }
    String::from_utf8(bytes).map_err(|_| invalid(part, "is no UTF-8"))
}
