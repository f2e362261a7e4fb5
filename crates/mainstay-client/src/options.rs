use std::time::Duration;

use url::Url;

use crate::Reach;

/// How an [`HttpClient`](crate::HttpClient) works. Plain data with complete defaults.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Options {
    /// Which addresses it may connect to. Default [`Reach::Public`].
    pub reach: Reach,
    /// Longest wait for a connection; a part of the attempt's time. Default 1 s.
    pub connect_timeout: Duration,
    /// Bytes of an answer's body; one that is longer is an error. Default 1 MiB.
    pub max_body: usize,
    /// Redirects that are followed, each only to an address in reach and never from `https` to `http`. Default 3.
    pub redirects: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            reach: Reach::default(),
            connect_timeout: Duration::from_secs(1),
            max_body: 1 << 20,
            redirects: 3,
        }
    }
}

/// Whether requests can be sent there: `http` or `https`, to a host, without a query or fragment. Nor with a password,
/// which would be shown wherever a setting is.
pub(crate) fn is_endpoint(url: &Url) -> bool {
    let plain = url.query().is_none() && url.fragment().is_none();
    let anonymous = url.username().is_empty() && url.password().is_none();
    matches!(url.scheme(), "http" | "https") && url.has_host() && plain && anonymous
}
