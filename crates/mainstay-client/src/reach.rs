//! Which addresses a client may connect to.
//!
//! A URL that somebody else can influence (a redirect, a name that is resolved again, a path in a host's place) must not
//! make the service call its own neighbours: request forgery, OWASP's A10 of 2021. So addresses are judged, and not
//! names: each that a name resolves to, just before it is connected to.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Which addresses a client may connect to.
///
/// ```
/// use mainstay_client::Reach;
///
/// assert!(Reach::Public.admits("93.184.216.34".parse().unwrap()));
/// assert!(!Reach::Public.admits("10.0.0.7".parse().unwrap()));
/// assert!(Reach::Private.admits("10.0.0.7".parse().unwrap()));
/// assert!(!Reach::Private.admits("169.254.169.254".parse().unwrap()));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Reach {
    /// Those of the public internet, and no other.
    #[default]
    Public,
    /// Those of private networks and of this machine too, for services next door. Never link-local addresses, nor the
    /// others where clouds keep credentials.
    Private,
}

impl Reach {
    /// Whether a client may connect there.
    #[must_use]
    pub fn admits(self, address: IpAddr) -> bool {
        let zone = match address {
            IpAddr::V4(address) => of_v4(address),
            IpAddr::V6(address) => of_v6(address),
        };
        match zone {
            Zone::Public => true,
            Zone::Private => self == Self::Private,
            Zone::Never => false,
        }
    }
}

impl fmt::Display for Reach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Public => "public",
            Self::Private => "private",
        })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Zone {
    Public,
    Private,
    /// Nothing that a service has to call: groups, documentation, the link's own.
    Never,
}

/// By the registry of special addresses (RFC 6890 and its updates).
fn of_v4(address: Ipv4Addr) -> Zone {
    let [a, b, c, d] = address.octets();
    match (a, b, c) {
        // Metadata of Alibaba's and Azure's instances.
        (100, 100, 100) if d == 200 => Zone::Never,
        (168, 63, 129) if d == 16 => Zone::Never,
        (10, ..) | (127, ..) | (172, 16..=31, _) | (192, 168, _) => Zone::Private,
        (100, 64..=127, _) => Zone::Private, // behind a carrier's translation (RFC 6598)
        (0, ..) | (169, 254, _) | (192, 0, 0 | 2) | (192, 88, 99) => Zone::Never,
        (198, 18..=19, _) | (198, 51, 100) | (203, 0, 113) | (224.., ..) => Zone::Never,
        _ => Zone::Public,
    }
}

/// What carries an IPv4 address inside is judged by that.
fn of_v6(address: Ipv6Addr) -> Zone {
    let inner = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        of_v4(Ipv4Addr::new(a, b, c, d))
    };
    match address.segments() {
        [0, 0, 0, 0, 0, 0, 0, 1] => Zone::Private,
        // Mapped (RFC 4291), translated (RFC 6052), 6to4 (RFC 3056).
        [0, 0, 0, 0, 0, 0xffff, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => inner(high, low),
        [0x2002, high, low, ..] => match inner(high, low) {
            Zone::Public => Zone::Public,
            _ => Zone::Never,
        },
        // Teredo and what else is for protocols (RFC 2928), documentation (RFC 3849, RFC 9637).
        [0x2001, 0..=0x1ff | 0xdb8, ..] | [0x3fff, 0..=0xfff, ..] => Zone::Never,
        [0x2000..=0x3fff, ..] => Zone::Public,
        // Metadata of Amazon's and Google's instances are unique local addresses.
        [0xfd00, 0x0ec2, ..] | [0xfd20, 0x00ce, ..] => Zone::Never,
        [0xfc00..=0xfdff, ..] => Zone::Private,
        _ => Zone::Never,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admitted(reach: Reach, addresses: &[&str]) -> Vec<bool> {
        addresses.iter().map(|address| reach.admits(address.parse().unwrap())).collect()
    }

    #[test]
    fn the_public_internet_is_in_reach_of_everybody() {
        let public = ["1.1.1.1", "93.184.216.34", "172.32.0.1", "2606:4700::1111", "64:ff9b::101:101"];
        assert_eq!(admitted(Reach::Public, &public), [true; 5]);
        assert_eq!(admitted(Reach::Private, &public), [true; 5]);
    }

    #[test]
    fn neighbours_are_in_reach_of_who_was_told_so() {
        let near = [
            "127.0.0.1",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "100.64.0.1",
            "::1",
            "fd12::1",
            "::ffff:127.0.0.1",
            "64:ff9b::a00:1",
        ];
        assert_eq!(admitted(Reach::Public, &near), [false; 9]);
        assert_eq!(admitted(Reach::Private, &near), [true; 9]);
    }

    #[test]
    fn where_credentials_lie_and_what_is_no_host_is_in_nobodys_reach() {
        let never = [
            "169.254.169.254",
            "0.0.0.0",
            "224.0.0.1",
            "255.255.255.255",
            "192.0.2.1",
            "198.18.0.1",
            "fe80::1",
            "ff02::1",
            "::",
            "fd00:ec2::254",
            "fd00:ec2::253",
            "fd20:ce::254",
            "100.100.100.200",
            "168.63.129.16",
            "64:ff9b::a83f:8110",
            "::ffff:169.254.169.254",
            "2002:a9fe:a9fe::1",
            "2001:db8::1",
            "::127.0.0.1",
            "2002:7f00:1::1",
            "2001:0:1::1",
        ];
        assert_eq!(admitted(Reach::Private, &never), [false; 21]);
        assert_eq!(admitted(Reach::Public, &never), [false; 21]);
    }
}
