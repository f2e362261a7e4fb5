//! Stands in for TLS where the feature `tls` is off.

use std::convert::Infallible;

use tokio::net::TcpStream;

use super::refusal::Refusal;
use crate::{Address, Options};

pub(crate) struct Tls(Result<Option<Never>, &'static str>);

pub(crate) struct Never(Infallible);

impl Tls {
    pub(crate) const fn new(options: &Options) -> Self {
        Self(if options.tls { Err("this build is without the feature `tls`") } else { Ok(None) })
    }

    pub(crate) fn get(&self) -> Result<Option<&Never>, &str> {
        self.0.as_ref().map(Option::as_ref).map_err(|why| *why)
    }
}

impl Never {
    #[expect(clippy::unused_async, reason = "as the real one")]
    pub(crate) async fn encrypt(&self, _stream: TcpStream, _to: &Address) -> Result<TcpStream, Refusal> {
        match self.0 {}
    }
}
