use std::fmt;
use std::io;
use std::net::SocketAddr;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use crate::Reach;

/// Resolves names to the addresses in reach. The client connects to what this returns and to nothing else, so that a
/// name cannot be one address when it is judged and another when it is used.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Resolver(pub(crate) Reach);

/// The addresses of a name are out of reach.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OutOfReach {
    pub(crate) host: String,
    pub(crate) reach: Reach,
}

impl fmt::Display for OutOfReach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, reach } = self;
        write!(f, "{host} is at no address that this client may call: its reach is {reach}")
    }
}

impl std::error::Error for OutOfReach {}

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let reach = self.0;
        Box::pin(async move {
            // The system's resolver, on a thread for blocking work. The port is the caller's.
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let found: Vec<SocketAddr> = found.collect();
            if found.is_empty() {
                return Err(io::Error::new(io::ErrorKind::NotFound, "the name has no address").into());
            }
            let admitted: Vec<_> = found.into_iter().filter(|address| reach.admits(address.ip())).collect();
            if admitted.is_empty() {
                return Err(OutOfReach { host: name.as_str().to_owned(), reach }.into());
            }
            Ok(Box::new(admitted.into_iter()) as Addrs)
        })
    }
}
