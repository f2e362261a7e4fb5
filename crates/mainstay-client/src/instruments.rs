use http::Method;
use mainstay_core::metrics::{Histogram, Metrics, Unit};
use tokio::time::Instant;

use crate::{Error, Response};

const REQUESTS: &str = "http_client_requests_total";
const SECONDS: &str = "http_client_request_duration_seconds";

const TIMES: [f64; 11] = [0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];

/// What each attempt counts.
#[derive(Debug)]
pub(crate) struct Instruments {
    client: String,
    metrics: Metrics,
    seconds: Histogram,
}

impl Instruments {
    pub(crate) fn new(client: &str, metrics: &Metrics) -> Self {
        metrics.describe_counter(REQUESTS, Unit::None, "Attempts of requests to others, by how they ended.");
        metrics.describe_histogram(
            SECONDS,
            Unit::Seconds,
            "From sending a request to its whole answer.",
            &TIMES,
        );
        let seconds = metrics.histogram(SECONDS).with(&[("client", client)]);
        Self { client: client.to_owned(), metrics: metrics.clone(), seconds }
    }

    /// An attempt, counted however it ends.
    pub(crate) fn begin<'a>(&'a self, method: &'a Method) -> UnderWay<'a> {
        UnderWay { instruments: self, method, started: Instant::now(), is_answered: false }
    }

    fn count(&self, method: &Method, status: &str) {
        let labels = [("client", &*self.client), ("method", known(method)), ("status", status)];
        self.metrics.counter(REQUESTS).with(&labels).increment(1);
    }
}

/// An attempt that has not ended; dropped without an answer when its time is over, or nobody waits any more.
pub(crate) struct UnderWay<'a> {
    instruments: &'a Instruments,
    method: &'a Method,
    started: Instant,
    is_answered: bool,
}

impl UnderWay<'_> {
    pub(crate) fn answered(mut self, answer: &Result<Response, Error>) {
        self.is_answered = true;
        let status = match answer {
            Ok(response) => response.status().as_str().to_owned(),
            Err(Error::Connect(_)) => "connect".to_owned(),
            Err(Error::OutOfReach { .. }) => "out_of_reach".to_owned(),
            Err(Error::TooLarge { .. }) => "too_large".to_owned(),
            Err(_) => "error".to_owned(),
        };
        self.instruments.count(self.method, &status);
        self.instruments.seconds.record_duration(self.started.elapsed());
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        if !self.is_answered {
            self.instruments.count(self.method, "dropped");
        }
    }
}

/// Methods are a service's own choice, but a label has few values.
fn known(method: &Method) -> &str {
    match *method {
        Method::GET | Method::HEAD | Method::POST | Method::PUT | Method::PATCH | Method::DELETE => {
            method.as_str()
        }
        _ => "other",
    }
}
