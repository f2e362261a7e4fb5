use std::cell::Cell;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use mainstay_core::breaker::{Breaker, Breakers, Reason};
use mainstay_core::deadline::{self, Deadline};
use mainstay_core::metrics::Metrics;
use mainstay_core::pipeline::Pipeline;
use mainstay_core::telemetry::trace_context::TraceContext;
use rustls::crypto::ring;
use rustls::{ClientConfig, RootCertStore};
use url::{Host, Url};

use crate::balance::{self, Chosen, Endpoint};
use crate::classify::Judge;
use crate::instruments::Instruments;
use crate::options::is_endpoint;
use crate::resolver::{OutOfReach, Resolver};
use crate::{Error, Options, Reach, Request, Response};

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");
const DEADLINE: HeaderName = HeaderName::from_static(deadline::HEADER);

/// Sends requests to one service, at one endpoint or several. Cheap to clone; clones share connections and policies.
#[derive(Clone)]
pub struct HttpClient(Arc<Inner>);

struct Inner {
    http: reqwest::Client,
    pipeline: Pipeline,
    endpoints: Vec<Endpoint>,
    options: Options,
    instruments: Instruments,
}

impl HttpClient {
    /// A client for the service that answers at `endpoints` (`https://host/base`), by the policies of `pipeline`. With
    /// several endpoints each has a breaker of its own, `<pipeline>.<n>` from 1 on, with the policy of the pipeline's.
    /// Calls do not go through that one then, but who forces or resets it does the same to all of them.
    ///
    /// Where an endpoint is `https`, the authorities that the system trusts are read: call it when the service starts.
    ///
    /// # Errors
    /// [`Error::Invalid`] names the endpoint that is none, [`Error::OutOfReach`] the one that may not be called.
    pub fn new(
        pipeline: Pipeline,
        endpoints: &[Url],
        options: Options,
        breakers: &Breakers,
        metrics: &Metrics,
    ) -> Result<Self, Error> {
        for (at, endpoint) in endpoints.iter().enumerate() {
            if !is_endpoint(endpoint) {
                // By its number: it may hold a password.
                return Err(Error::invalid(format!(
                    "endpoint {} is not of the form http(s)://host[:port][/path]",
                    at + 1
                )));
            }
            literal_in_reach(endpoint, options.reach)?;
        }
        let own = |at: usize| -> Result<Breaker, Error> {
            let name = format!("{}.{}", pipeline.name(), at + 1);
            let policy = pipeline.breaker().policy();
            breakers.declare(&name, policy).map_err(|error| Error::invalid(error.to_string()))
        };
        let several = match endpoints {
            [] => return Err(Error::invalid("there is no endpoint")),
            [url] => vec![Endpoint::new(url.clone(), pipeline.breaker().clone())],
            several => {
                let several = several.iter().enumerate();
                let several = several
                    .map(|(at, url)| Ok(Endpoint::new(url.clone(), own(at)?)))
                    .collect::<Result<Vec<_>, Error>>()?;
                lead(pipeline.breaker(), &several);
                several
            }
        };
        let encrypted = endpoints.iter().any(|endpoint| endpoint.scheme() == "https");
        let http = connections(&options, encrypted)?;
        let instruments = Instruments::new(pipeline.name(), metrics);
        Ok(Self(Arc::new(Inner { http, pipeline, endpoints: several, options, instruments })))
    }

    /// What its requests go through.
    #[must_use]
    pub fn pipeline(&self) -> &Pipeline {
        &self.0.pipeline
    }

    /// Begins a `GET` of this path below the endpoint.
    #[must_use]
    pub fn get(&self, path: &str) -> Request {
        self.request(Method::GET, path)
    }

    /// Begins a `POST` to this path below the endpoint.
    #[must_use]
    pub fn post(&self, path: &str) -> Request {
        self.request(Method::POST, path)
    }

    /// Begins a request for this path below the endpoint. The path is a path and nothing else: it is encoded, it cannot
    /// name another host, and it cannot leave the endpoint's own by `..`.
    #[must_use]
    pub fn request(&self, method: Method, path: &str) -> Request {
        Request::new(self.clone(), method, path)
    }

    pub(crate) async fn send(&self, request: &Request) -> Result<Response, Error> {
        let inner = &*self.0;
        let judge = Judge { is_repeatable: request.is_repeatable() };
        let last = AtomicUsize::new(balance::NONE);
        let answer = inner.pipeline.call_to(
            |_| balance::choose(&inner.endpoints, &last),
            judge,
            |Chosen(endpoint), _| inner.attempt(endpoint, request),
        );
        Ok(answer.await?)
    }
}

impl Inner {
    async fn attempt(&self, endpoint: &Endpoint, request: &Request) -> Result<Response, Error> {
        let under_way = self.instruments.begin(&request.method);
        let answer = self.exchange(endpoint, request).await;
        under_way.answered(&answer);
        answer
    }

    async fn exchange(&self, endpoint: &Endpoint, request: &Request) -> Result<Response, Error> {
        let url = request.url(&endpoint.url)?;
        let mut headers = request.headers.clone();
        travel(&mut headers);
        let sending =
            self.http.request(request.method.clone(), url).headers(headers).body(request.body.clone());
        let mut response = REDIRECTED
            .scope(Cell::new(false), async {
                sending.send().await.map_err(|error| told(error, REDIRECTED.with(Cell::get)))
            })
            .await?;
        let max = self.options.max_body;
        if response.content_length().is_some_and(|length| length > max as u64) {
            return Err(Error::TooLarge { max });
        }
        let (status, headers) = (response.status(), std::mem::take(response.headers_mut()));
        let mut body = BytesMut::new();
        while let Some(part) = response.chunk().await.map_err(|error| told(error, true))? {
            if body.len() + part.len() > max {
                return Err(Error::TooLarge { max });
            }
            body.extend_from_slice(&part);
        }
        Ok(Response::new(status, headers, body.freeze()))
    }
}

/// What an operator does to the breaker of a pipeline holds for those of its endpoints.
fn lead(breaker: &Breaker, endpoints: &[Endpoint]) {
    let followers: Vec<_> = endpoints.iter().map(|endpoint| endpoint.breaker.clone()).collect();
    breaker.on_change(move |change| match change.reason {
        Reason::Forced(mode) => followers.iter().for_each(|own| own.force(mode)),
        Reason::Reset => followers.iter().for_each(Breaker::reset),
        _ => {}
    });
    endpoints.iter().for_each(|endpoint| endpoint.breaker.force(breaker.mode()));
}

/// What the other side is to know: how long an answer is of use, and what it belongs to.
fn travel(headers: &mut HeaderMap) {
    if let Some(deadline) = Deadline::current() {
        headers.insert(DEADLINE, deadline.header().into());
    }
    let Some(trace) = TraceContext::current() else { return };
    let mut insert = |name, text: &str| {
        if let Ok(value) = HeaderValue::from_str(text) {
            headers.insert(name, value);
        }
    };
    insert(TRACEPARENT, &trace.child().to_header());
    if !trace.state().is_empty() {
        insert(TRACESTATE, trace.state().as_str());
    }
}

/// An address in the place of a name is not resolved: it is judged here.
fn literal_in_reach(url: &Url, reach: Reach) -> Result<(), Error> {
    let address = match url.host() {
        Some(Host::Ipv4(address)) => IpAddr::V4(address),
        Some(Host::Ipv6(address)) => IpAddr::V6(address),
        _ => return Ok(()),
    };
    if reach.admits(address) {
        return Ok(());
    }
    let out = OutOfReach { host: address.to_string(), reach };
    Err(Error::OutOfReach { reason: out.to_string() })
}

fn connections(options: &Options, encrypted: bool) -> Result<reqwest::Client, Error> {
    let (most, reach) = (options.redirects, options.reach);
    let redirects = reqwest::redirect::Policy::custom(move |attempt| {
        let downgrade =
            attempt.url().scheme() != "https" && attempt.previous().iter().any(|url| url.scheme() == "https");
        if attempt.previous().len() > most || !matches!(attempt.url().scheme(), "http" | "https") || downgrade
        {
            return attempt.stop();
        }
        match literal_in_reach(attempt.url(), reach) {
            Ok(()) => {
                redirected();
                attempt.follow()
            }
            Err(_) => {
                let host = attempt.url().host_str().unwrap_or_default().to_owned();
                attempt.error(OutOfReach { host, reach })
            }
        }
    });
    let mut roots = RootCertStore::empty();
    if encrypted {
        let _some_may_be_odd =
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    }
    let tls = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::invalid(error.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        // Its own attempts and the environment's proxies would go past the pipeline and the reach.
        .retry(reqwest::retry::never())
        .no_proxy()
        .referer(false)
        .dns_resolver(Resolver(reach))
        .redirect(redirects)
        .connect_timeout(options.connect_timeout)
        .user_agent(concat!("mainstay/", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(|error| Error::invalid(error.to_string()))
}

tokio::task_local! {
    /// Whether the request that is being sent was answered with a redirect that is followed.
    static REDIRECTED: Cell<bool>;
}

fn redirected() {
    // The policy is asked by nobody but a request.
    REDIRECTED.try_with(|redirected| redirected.set(true)).ok();
}

/// Whoever answered with a redirect may have carried the request out, wherever the next connection fails.
fn told(error: reqwest::Error, was_answered: bool) -> Error {
    let mut cause = std::error::Error::source(&error);
    while let Some(below) = cause {
        if let Some(out) = below.downcast_ref::<OutOfReach>() {
            return Error::OutOfReach { reason: out.to_string() };
        }
        cause = below.source();
    }
    // The URL may hold what is secret.
    let error = error.without_url();
    if error.is_connect() && !was_answered {
        Error::Connect(error.into())
    } else if error.is_builder() {
        Error::invalid(error.to_string())
    } else {
        Error::Broken(error.into())
    }
}

/// Nothing that repeats what was sent, and nothing of one connection (RFC 9110, 7.6.1).
pub(crate) const REFUSED_HEADERS: [HeaderName; 8] = [
    header::HOST,
    header::CONTENT_LENGTH,
    header::TRANSFER_ENCODING,
    header::CONNECTION,
    header::TE,
    header::UPGRADE,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
];

pub(crate) const NOTHING: Bytes = Bytes::new();

impl fmt::Debug for HttpClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpClient").field("name", &self.0.pipeline.name()).finish_non_exhaustive()
    }
}
