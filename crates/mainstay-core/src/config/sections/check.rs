//! Rules on the text of single settings.

use std::net::IpAddr;

/// An IPv4 or IPv6 address.
pub(super) fn ip(text: &str) -> bool {
    text.parse::<IpAddr>().is_ok()
}

/// An address, or a network in CIDR notation.
pub(super) fn network(text: &str) -> bool {
    let (address, prefix) =
        text.split_once('/').map_or((text, None), |(address, prefix)| (address, Some(prefix)));
    let Ok(address) = address.parse::<IpAddr>() else { return false };
    let longest = if address.is_ipv4() { 32 } else { 128 };
    let digits = |prefix: &str| prefix.bytes().all(|byte| byte.is_ascii_digit());
    prefix.is_none_or(|prefix| digits(prefix) && prefix.parse::<u8>().is_ok_and(|bits| bits <= longest))
}

/// A path that a route can have as it stands.
pub(super) fn url_path(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/-._~".contains(&byte);
    text.len() > 1 && text.starts_with('/') && !text.contains("//") && text.bytes().all(plain)
}

/// A name that is safe in a file name, a metric label and a log line.
pub(super) fn name(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    text.len() <= 128 && !text.starts_with('.') && text.bytes().all(plain)
}

/// `*`, or an origin as a browser sends it: scheme, host and perhaps a port, in small letters.
pub(super) fn origin(text: &str) -> bool {
    let host = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let plain =
        |byte: u8| byte.is_ascii_graphic() && !byte.is_ascii_uppercase() && !b"/?#@,\"*".contains(&byte);
    text == "*" || host.is_some_and(|host| !host.is_empty() && host.bytes().all(plain))
}

/// A URL for HTTP.
pub(super) fn http_url(text: &str) -> bool {
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    rest.is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_graphic()))
}

/// A URL with one of these schemes.
fn scheme(text: &str, schemes: &[&str]) -> bool {
    text.split_once(':').is_some_and(|(scheme, rest)| schemes.contains(&scheme) && !rest.is_empty())
}

/// A URL of a Redis deployment.
pub(super) fn redis_url(text: &str) -> bool {
    scheme(text, &["redis", "rediss", "redis+sentinel", "redis+cluster"]) && text.contains("://")
}

/// A URL of a database.
pub(super) fn database_url(text: &str) -> bool {
    scheme(text, &["sqlite"])
        || (scheme(text, &["postgres", "postgresql", "mysql", "mariadb"]) && text.contains("://"))
}

/// As many bytes as the digest that a token is signed with: fewer can be guessed from one token (RFC 7518, 3.2).
pub(super) fn long_secret(text: &str) -> bool {
    text.len() >= 32
}

/// 32 bytes, as 64 hexadecimal digits or in base64 (standard or URL alphabet, padded or not).
pub(super) fn key(text: &str) -> bool {
    let unpadded = text.strip_suffix('=').unwrap_or(text);
    let base64 = |byte: u8| byte.is_ascii_alphanumeric() || b"+/-_".contains(&byte);
    (text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit()))
        || (unpadded.len() == 43 && unpadded.bytes().all(base64))
}

/// A ring of keys: `id:key,id:key`.
pub(super) fn key_ring(text: &str) -> bool {
    let mut ids = Vec::new();
    text.split(',').all(|entry| {
        entry.trim().split_once(':').is_some_and(|(id, value)| {
            let new = !id.is_empty() && !ids.contains(&id);
            ids.push(id);
            new && name(id) && key(value)
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(rule: fn(&str) -> bool, good: &[&str], bad: &[&str]) {
        good.iter().for_each(|text| assert!(rule(text), "{text} should be accepted"));
        bad.iter().for_each(|text| assert!(!rule(text), "{text} should be refused"));
    }

    #[test]
    fn each_rule_accepts_its_own_and_refuses_the_rest() {
        split(
            network,
            &["10.0.0.0/8", "::1", "fd00::/128", "1.2.3.4/0"],
            &["10.0.0.0/33", "::/129", "10/8", "1.2.3.4/", "1.2.3.4/+8", "x"],
        );
        split(
            url_path,
            &["/health", "/a/b-c.d_e~"],
            &["/", "health", "/a b", "/a?b", "/{id}", "//a", "/*x", "/%2e"],
        );
        split(name, &["user-service", "a.b_c"], &["a/b", "..", ".a", "a b", "ü"]);
        split(
            origin,
            &["*", "https://a.example", "http://localhost:5173"],
            &[
                "a.example",
                "https://",
                "https://a/b",
                "https://a\n",
                "https://A.example",
                "https://*.example",
                "null",
            ],
        );
        split(http_url, &["https://a/jwks.json"], &["ftp://a", "https://", "https://a b"]);
        split(
            redis_url,
            &["redis://h", "rediss://h:1/0", "redis+sentinel://a,b/m"],
            &["http://h", "redis:", "h:6379"],
        );
        split(
            database_url,
            &["sqlite::memory:", "sqlite://data/a.db", "postgres://h/d", "mysql://h/d"],
            &["oracle://h", "postgres:h", "a.db"],
        );
        let (hex, base64) = ("0f".repeat(32), format!("{}=", "A".repeat(43)));
        split(long_secret, &[&hex], &["", &hex[..31]]);
        split(
            key,
            &[&hex, &base64, base64.trim_end_matches('=')],
            &["", "short", &hex[1..], &"A".repeat(44)],
        );
        split(
            key_ring,
            &[&format!("b:{hex},a:{base64}")],
            &["", &hex, &format!("a:{hex},a:{hex}"), &format!("a:{hex},")],
        );
    }
}
