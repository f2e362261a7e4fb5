//! Ports that stay free for a server while it is down.

use std::hash::{BuildHasher, RandomState};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};

/// Below the range that Linux takes ports of outgoing connections from (32768 and above), also with
/// [`BUS`] added: otherwise the port of a killed server may become some client's, or a client that
/// tries it again and again may connect to itself.
const RANGE: std::ops::Range<u16> = 10_000..22_000;

/// What Redis adds to the port of a cluster node to get the port of its bus.
const BUS: u16 = 10_000;

/// A free TCP port of this machine (and, for a Redis server, the bus port that belongs to it), for whatever cannot
/// listen on port 0 and say where it is.
///
/// ```
/// let port = mainstay_testkit::Port::reserve();
/// assert!(std::net::TcpListener::bind(port.address()).is_ok());
/// ```
///
/// Held by the UDP port of the same number, which no server wants: nobody else's `Port` becomes the
/// same one, in any process, while this value lives, whether or not a server listens.
#[derive(Debug)]
pub struct Port {
    number: u16,
    _held: UdpSocket,
}

impl Port {
    /// One that nobody listens on.
    ///
    /// # Panics
    /// If none of a thousand is free.
    #[must_use]
    pub fn reserve() -> Self {
        let random = RandomState::new();
        (0..1_000_u32)
            .find_map(|attempt| {
                let span = u64::from(RANGE.end - RANGE.start);
                let offset = u16::try_from(random.hash_one(attempt) % span).expect("the range is of u16");
                Self::hold(RANGE.start + offset)
            })
            .expect("one of a thousand ports is free")
    }

    fn hold(number: u16) -> Option<Self> {
        let held = UdpSocket::bind((Ipv4Addr::LOCALHOST, number)).ok()?;
        let free = |port: u16| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok();
        (free(number) && free(number + BUS)).then_some(Self { number, _held: held })
    }

    /// Its number.
    #[must_use]
    pub const fn number(&self) -> u16 {
        self.number
    }

    /// On 127.0.0.1.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.number).into()
    }
}
