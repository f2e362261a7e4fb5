//! `[otlp]`

use std::time::Duration;

use mainstay_core::config::{Field, Kind, Section, millis};
use mainstay_core::telemetry::trace_context::Sampling;
use serde::{Deserialize, Serialize};

/// Where traces go, and which. The names are OpenTelemetry's.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Otlp {
    /// `OTEL_EXPORTER_OTLP_ENDPOINT`: base URL of the collector; unset means no export. Spans are
    /// posted to `/v1/traces` below it.
    pub(super) endpoint: Option<String>,
    /// `OTEL_EXPORTER_OTLP_TIMEOUT`: for one batch, retries included.
    #[serde(with = "millis")]
    pub(super) timeout: Duration,
    /// `OTEL_TRACES_SAMPLER_ARG`: share of the traces that begin here; a caller's decision stands.
    sample_ratio: String,
}

impl Section for Otlp {
    const NAME: &'static str = "otlp";
    const FIELDS: &'static [Field] = &[
        Field::new("endpoint", Kind::Text, "Base URL of the OpenTelemetry collector; unset means no export")
            .env(&["OTEL_EXPORTER_OTLP_ENDPOINT"])
            .check("a URL such as http://localhost:4318; https is not in this build yet", is_endpoint)
            .restart_only(),
        Field::new("timeout", Kind::PERIOD, "Time limit of one export, retries included")
            .env(&["OTEL_EXPORTER_OTLP_TIMEOUT"])
            .default("10s")
            .restart_only(),
        Field::new("sample_ratio", Kind::Text, "Share of the traces begun here that are recorded")
            .env(&["OTEL_TRACES_SAMPLER_ARG"])
            .default("1")
            .check("a number from 0 to 1 (in a file as text: \"0.1\")", |text| share(text).is_some())
            .restart_only(),
    ];
}

impl Otlp {
    pub(super) fn sampling(&self) -> Sampling {
        share(&self.sample_ratio).map_or(Sampling::NONE, Sampling::share)
    }
}

fn share(text: &str) -> Option<f64> {
    text.parse().ok().filter(|share| (0.0..=1.0).contains(share))
}

/// A base URL without credentials, which the effective configuration would show.
fn is_endpoint(text: &str) -> bool {
    text.parse::<http::Uri>().is_ok_and(|uri| {
        uri.scheme_str() == Some("http") && uri.query().is_none() && !text.contains(['@', '#'])
    })
}

#[cfg(test)]
mod tests {
    use mainstay_core::config::disagreements;

    use super::*;

    #[test]
    fn the_table_fits_the_type() {
        assert_eq!(disagreements::<Otlp>(), [""; 0]);
    }

    #[test]
    fn an_endpoint_is_a_plain_http_base_url() {
        for good in ["http://localhost:4318", "http://[::1]:4318/", "http://collector/base"] {
            assert!(is_endpoint(good), "{good}");
        }
        for bad in ["https://c:4318", "localhost:4318", "http://", "http://u:p@c", "http://c?a=b", "grpc://c"]
        {
            assert!(!is_endpoint(bad), "{bad}");
        }
    }

    #[test]
    fn a_share_is_a_number_from_0_to_1() {
        assert_eq!((share("0"), share("0.25"), share("1")), (Some(0.0), Some(0.25), Some(1.0)));
        assert_eq!([share("-0.1"), share("1.1"), share("NaN"), share("half"), share("")], [None; 5]);
    }
}
