//! Requests to other services, through a [`Pipeline`](mainstay_core::pipeline::Pipeline).
//!
//! # Promise
//! - A request ends by the pipeline's deadline, and by that of the request that is being served if it is earlier; the
//!   other side is told in `mainstay-deadline-ms`, and the trace in `traceparent`.
//! - Only what may be repeated is sent twice: by its method, by an `Idempotency-Key`, or by the caller's word; or because
//!   no connection was made. `Retry-After` is kept.
//! - It connects to addresses in its [`Reach`] and to no other, whatever a name resolves to and wherever a redirect
//!   leads. A path is a path: it cannot name another host or leave that of the endpoint.
//! - Of several endpoints, those whose breaker is open are left out.
//! - An answer is read whole, within the attempt's time, up to [`Options::max_body`].
//!
//! # Not promised
//! - Streams. What is larger than memory is not for this client.
//! - Proxies: those of the environment are not used.
//! - Order of requests.
//!
//! # If the store is down
//! There is none. If the service is down: [`Error::Open`] at once, once its breaker has seen it.
//!
//! # Defaults
//! The public internet in reach, 1 s to connect, 1 MiB of an answer, 3 redirects. See [`Options`].
//!
//! # Metrics
//! `http_client_requests_total{client, method, status}` for each attempt: the status, or `connect`, `out_of_reach`,
//! `too_large`, `error`, or `dropped` when its time was over, a hedge was faster or the caller left;
//! `http_client_request_duration_seconds{client}` of those that were not dropped; and those of the pipeline.
//!
//! HTTP/1.1 and HTTP/2 by [reqwest](https://docs.rs/reqwest), TLS by rustls with the authorities that the system trusts.

mod balance;
mod classify;
mod client;
mod error;
mod instruments;
mod layer;
mod options;
mod reach;
mod request;
mod resolver;

pub use client::HttpClient;
pub use error::{Error, Source};
pub use layer::{PipelineLayer, PipelineService};
pub use options::Options;
pub use reach::Reach;
pub use request::{Request, Response};
/// Where endpoints are.
pub use url::Url;
