use std::time::Duration;

use http::Method;
use mainstay_core::metrics::{Histogram, Metrics, Unit};

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

    pub(crate) fn answered(&self, method: &Method, answer: &Result<Response, Error>, took: Duration) {
        let status = match answer {
            Ok(response) => response.status().as_str().to_owned(),
            Err(Error::Connect(_)) => "connect".to_owned(),
            Err(Error::OutOfReach { .. }) => "out_of_reach".to_owned(),
            Err(Error::TooLarge { .. }) => "too_large".to_owned(),
            Err(_) => "error".to_owned(),
        };
        let labels = [("client", &*self.client), ("method", known(method)), ("status", &*status)];
        self.metrics.counter(REQUESTS).with(&labels).increment(1);
        self.seconds.record(took.as_secs_f64());
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
