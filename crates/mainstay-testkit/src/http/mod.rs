//! HTTP/1.1 over a plain socket: no pool, no redirects, no retries and no opinion about what may be
//! sent, so that a test sees what the server really answers.
//!
//! [`Request`] is for whole requests, [`raw`] for broken ones, [`SlowClients`] for clients that
//! hold a connection and say next to nothing.

mod raw;
mod request;
mod response;

use std::convert::Infallible;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::tcp::WriteHalf;

pub use raw::{SlowClients, raw};
pub use request::Request;
pub use response::Response;

/// Longer than a healthy server ever needs, shorter than the test runner's patience.
const DEADLINE: Duration = Duration::from_secs(30);

/// Writes, and never ends: the reading that runs beside it decides when the exchange is over. A
/// server may answer before it has read everything, and an error here shows there as well, unless the
/// answer had come already.
async fn keep_writing(mut to: WriteHalf<'_>, bytes: &[u8]) -> Infallible {
    let _ = to.write_all(bytes).await;
    std::future::pending().await
}
