//! Who is calling: the address that a limit counts, believed only as far as trusted proxies vouch for it.
//!
//! Behind a proxy the other end of the socket is the proxy. Each proxy adds the address it was called from
//! at the right end of `X-Forwarded-For` (or `Forwarded`, RFC 7239), and whoever calls the first proxy can
//! write anything to the left of that. So the list is walked from the right: while the address reached so
//! far is in `TRUSTED_PROXIES`, the next entry is believed; the first address that is not, is the client.
//!
//! - A peer that is not trusted is the client, whatever its headers say.
//! - An entry that is no address (`unknown`, `_hidden`, an empty one, noise) ends the walk at the hop
//!   before it. Its callers then share one identity, which is the safe side: noise frees nobody.
//! - Several header lines are one list. Ports, brackets and letter case do not matter.
//!
//! # The two headers
//! `X-Forwarded-For` is read alone where it is present, `Forwarded` only where it is absent. Nearly every
//! proxy writes the first and hands on the second as the client sent it: reading `Forwarded` beside it
//! would let clients choose their identity. The price: **a proxy that writes only `Forwarded` must remove
//! `X-Forwarded-For`**, or a client can smuggle one in. And a trusted proxy must write one of the two: one
//! that hands both on untouched vouches for whatever the client made up.
//!
//! ```
//! use mainstay_http::TrustedProxies;
//!
//! let proxies = TrustedProxies::parse(["10.0.0.0/8", "::1"])?;
//! let request = http::Request::builder().header("x-forwarded-for", "6.6.6.6, 203.0.113.9, 10.0.0.2");
//! let request = request.body(()).unwrap();
//! let client = proxies.client_from("10.0.0.1".parse().unwrap(), request.headers());
//! assert_eq!(client.to_string(), "203.0.113.9");
//! # Ok::<(), mainstay_http::InvalidNetwork>(())
//! ```

mod forwarded;
mod network;

pub use network::InvalidNetwork;

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

use http::{HeaderMap, HeaderName, header};

use crate::Connection;
use network::Network;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The proxies whose word about their callers is taken. The default trusts none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TrustedProxies(Box<[Network]>);

impl TrustedProxies {
    /// Reads addresses and networks in CIDR notation: `10.0.0.0/8`, `::1`.
    ///
    /// An IPv4 network also covers its addresses in IPv6 form (`::ffff:10.0.0.1`), as dual-stack sockets
    /// show them; `::/0` covers everything.
    ///
    /// # Errors
    /// [`InvalidNetwork`] names the first entry that is neither.
    pub fn parse<I>(networks: I) -> Result<Self, InvalidNetwork>
    where
        I: IntoIterator<Item: AsRef<str>>,
    {
        networks.into_iter().map(|text| text.as_ref().parse()).collect::<Result<_, _>>().map(Self)
    }

    /// Who sent this request.
    ///
    /// A request without a [`Connection`] did not come through a [`Host`](crate::Host): a test that calls a
    /// router directly, say. Its client is [`Client::UNKNOWN`], and all of these share one identity.
    #[must_use]
    pub fn client<B>(&self, request: &http::Request<B>) -> Client {
        match request.extensions().get::<Connection>() {
            Some(connection) => self.client_from(connection.peer.ip(), request.headers()),
            None => Client::UNKNOWN,
        }
    }

    /// The same, for who has the parts of a request: an extractor.
    #[must_use]
    pub fn client_of(&self, request: &http::request::Parts) -> Client {
        match request.extensions.get::<Connection>() {
            Some(connection) => self.client_from(connection.peer.ip(), &request.headers),
            None => Client::UNKNOWN,
        }
    }

    /// Who sent a request with these headers over a connection from `peer`.
    #[must_use]
    pub fn client_from(&self, peer: IpAddr, headers: &HeaderMap) -> Client {
        let client = if headers.contains_key(X_FORWARDED_FOR) {
            self.walk(peer, forwarded::x_forwarded_for(headers.get_all(X_FORWARDED_FOR)))
        } else {
            self.walk(peer, forwarded::forwarded(headers.get_all(header::FORWARDED)))
        };
        Client(Some(client.to_canonical()))
    }

    /// `hops` from the nearest; `None` for one that is no address. Linear in the length of the headers, of
    /// which the server takes 32 KiB, and without an allocation.
    fn walk(&self, peer: IpAddr, mut hops: impl Iterator<Item = Option<IpAddr>>) -> IpAddr {
        let mut client = peer;
        while self.trusts(client)
            && let Some(hop) = hops.next().flatten()
        {
            client = hop;
        }
        client
    }

    pub(crate) fn trusts(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(address))
    }
}

/// Who is calling, as limits see it.
///
/// Displays as what a limit counts: an IPv4 address; the /64 of an IPv6 address, because that is the least
/// that one subscriber has, and counting single addresses would give each of them 2⁶⁴ limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Client(Option<IpAddr>);

impl Client {
    /// Nobody known: the request came over no connection.
    pub const UNKNOWN: Self = Self(None);

    /// The address, an IPv4 address always in IPv4 form; `None` for [`Client::UNKNOWN`].
    #[must_use]
    pub const fn address(self) -> Option<IpAddr> {
        self.0
    }
}

impl Client {
    /// Who has this address, as limits count: all addresses of a /64 are one.
    pub(crate) fn subscriber(address: IpAddr) -> Self {
        Self(Some(match address.to_canonical() {
            IpAddr::V6(address) => IpAddr::V6(subscriber(address)),
            address @ IpAddr::V4(_) => address,
        }))
    }
}

fn subscriber(address: Ipv6Addr) -> Ipv6Addr {
    Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX))
}

impl fmt::Display for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            None => f.write_str("unknown"),
            Some(IpAddr::V4(address)) => write!(f, "{address}"),
            Some(IpAddr::V6(address)) => write!(f, "{}/64", subscriber(address)),
        }
    }
}

#[cfg(test)]
mod tests;
