//! Export of traces, against a collector in this process.

mod alone;
mod collector;

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use mainstay::http::{RequestContext, Routes, Rule};
use mainstay::metrics::Format;
use mainstay::telemetry::trace_context::TraceContext;
use mainstay::{Mainstay, ServeError};
use mainstay_testkit::http::Request;
use mainstay_testkit::{Port, eventually_async};
use opentelemetry_proto::tonic::trace::v1::{Span, span::SpanKind, status::StatusCode};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use alone::alone;
use collector::{Collector, attribute};

const CALLER: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const PATIENCE: Duration = Duration::from_secs(20);

/// An app that serves on `addr`.
struct Served {
    app: Mainstay,
    addr: SocketAddr,
    done: JoinHandle<Result<(), ServeError>>,
    _port: Port,
}

impl Served {
    async fn start(settings: &[(&str, &str)]) -> Self {
        let reserved = Port::reserve();
        let (addr, port) = (reserved.address(), reserved.number().to_string());
        let own = [
            ("HOST", "127.0.0.1"),
            ("PORT", &port),
            ("SHUTDOWN_DRAIN_DELAY", "0"),
            ("SERVICE_NAME", "orders"),
            ("INSTANCE_ID", "orders-1"),
        ];
        let settings: Vec<(String, String)> =
            own.iter().chain(settings).map(|(name, value)| ((*name).into(), (*value).into())).collect();
        let app = Mainstay::builder("t", "1.2.3")
            .configure(|config| config.no_files().env_vars(settings))
            .start()
            .await
            .unwrap();
        let done = tokio::spawn({
            let app = app.clone();
            async move { app.serve(Routes::new().all(Rule::Public, routes())).await }
        });
        eventually_async("the app answers", PATIENCE, async || {
            Request::get(addr, "/distributed/live").try_send().await.is_ok()
        })
        .await;
        Self { app, addr, done, _port: reserved }
    }

    /// Sends a request; returns the `traceparent` that its handler would pass on.
    async fn order(&self, traceparent: &str) -> TraceContext {
        let response = Request::get(self.addr, "/orders/17").header("traceparent", traceparent).send().await;
        assert_eq!(response.status, 200);
        TraceContext::parse(&response.text()).unwrap()
    }

    fn dropped(&self, reason: &str) -> u64 {
        let text = self.app.metrics().render(Format::Prometheus);
        let series = format!("otlp_spans_dropped_total{{reason=\"{reason}\"}} ");
        text.lines().find_map(|line| line.strip_prefix(&series)).map_or(0, |count| count.parse().unwrap())
    }

    async fn stop(self) {
        self.app.lifecycle().request_shutdown("test");
        let served = tokio::time::timeout(PATIENCE, self.done).await.expect("the shutdown ends in time");
        served.unwrap().unwrap();
    }
}

fn routes() -> Router {
    async fn order(context: RequestContext) -> String {
        tracing::info_span!("load order", order = 17_u64).in_scope(|| tracing::info!("loaded"));
        context.trace.to_header()
    }
    async fn panics() {
        panic!("on purpose");
    }
    Router::new().route("/orders/{id}", get(order)).route("/panic", get(panics))
}

fn ids(span: &Span) -> (String, String, String) {
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    (hex(&span.trace_id), hex(&span.span_id), hex(&span.parent_span_id))
}

#[test]
fn a_request_becomes_a_server_span_in_its_callers_trace_under_the_id_that_is_passed_on() {
    let log = alone(&[], async {
        let port = Port::reserve();
        let collector = Collector::start(port.address()).await;
        let app = Served::start(&[("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.endpoint())]).await;
        let passed_on = app.order(CALLER).await;
        app.order("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00").await;
        assert_eq!(Request::get(app.addr, "/panic").header("traceparent", CALLER).send().await.status, 500);
        app.stop().await;

        for (name, value) in [
            ("service.name", "orders"),
            ("service.version", "1.2.3"),
            ("service.instance.id", "orders-1"),
            ("deployment.environment.name", "development"),
        ] {
            assert_eq!(collector.resource(name).as_deref(), Some(value), "{name}");
        }
        let spans = collector.spans();
        let with_name = |name: &str| {
            let found: Vec<_> = spans.iter().filter(|span| span.name == name).collect();
            let [span] = found[..] else { panic!("one {name}: {spans:#?}") };
            span
        };
        let trace = "4bf92f3577b34da6a3ce929d0e0e4736".to_owned();

        let request = with_name("GET /orders/{id}");
        assert_eq!(ids(request), (trace.clone(), passed_on.span_id(), "00f067aa0ba902b7".into()));
        assert_eq!(request.kind(), SpanKind::Server);
        assert!(request.start_time_unix_nano > 0);
        assert!(request.end_time_unix_nano >= request.start_time_unix_nano);
        let has = |name| attribute(&request.attributes, name);
        assert_eq!(has("http.request.method").as_deref(), Some("GET"));
        assert_eq!(has("http.route").as_deref(), Some("/orders/{id}"));
        assert_eq!(has("url.path").as_deref(), Some("/orders/17"));
        assert_eq!(has("http.response.status_code").as_deref(), Some("200"));
        assert!(request.status.as_ref().is_none_or(|status| status.code() == StatusCode::Unset));

        let inner = with_name("load order");
        assert_eq!((ids(inner).0, ids(inner).2), (trace, passed_on.span_id()));
        assert_eq!(inner.kind(), SpanKind::Internal);
        assert_eq!(attribute(&inner.attributes, "order").as_deref(), Some("17"));

        assert_eq!(with_name("GET /panic").status.as_ref().unwrap().code(), StatusCode::Error);
        // No probe, no trace that its caller does not record, no request of the exporter's own.
        let mut names: Vec<_> = spans.iter().map(|span| span.name.as_str()).collect();
        names.sort_unstable();
        assert_eq!(names, ["GET /orders/{id}", "GET /panic", "load order"]);
    });
    if let Some(log) = log {
        assert!(log.contains("trace_id=4bf92f3577b34da6a3ce929d0e0e4736"), "{log}");
        assert!(!log.contains("otel."), "{log}");
    }
}

#[test]
fn a_collector_that_hangs_costs_spans_but_no_request_and_no_shutdown() {
    alone(&[], async {
        let hangs = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", hangs.local_addr().unwrap());
        let app = Served::start(&[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "1h"),
        ])
        .await;
        for _ in 0..4096 {
            tracing::info_span!("work", otel.traceparent = CALLER);
        }
        app.order(CALLER).await;
        assert!(app.dropped("queue_full") > 0);
        app.stop().await;
    });
}

#[test]
fn a_collector_that_is_away_is_one_warning_and_gets_what_comes_when_it_is_back() {
    let log = alone(&[("OTEL_BSP_SCHEDULE_DELAY", "10")], async {
        let port = Port::reserve();
        let addr = port.address();
        let app = Served::start(&[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", &format!("http://{addr}/")),
            ("OTEL_TRACES_SAMPLER_ARG", "0"),
        ])
        .await;
        // The spans of a request may leave in one batch or in two.
        for lost in [1, 3] {
            app.order(CALLER).await;
            eventually_async("the loss is counted", PATIENCE, async || app.dropped("export_failed") >= lost)
                .await;
        }
        let collector = Collector::start(addr).await;
        let order = app.order(CALLER).await;
        eventually_async("the span arrives", PATIENCE, async || {
            collector.spans().iter().any(|span| ids(span).1 == order.span_id())
        })
        .await;
        app.stop().await;
    });
    if let Some(log) = log {
        assert_eq!(log.matches("traces are not exported").count(), 1, "{log}");
        assert_eq!(log.matches("traces are exported again").count(), 1, "{log}");
    }
}

#[test]
fn a_trace_that_begins_here_is_recorded_by_the_ratio_and_says_so_to_the_services_it_reaches() {
    alone(&[], async {
        let port = Port::reserve();
        let collector = Collector::start(port.address()).await;
        let app = Served::start(&[("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.endpoint())]).await;
        let begun = app.order("").await;
        assert!(begun.is_sampled());
        app.stop().await;
        let spans = collector.spans();
        let span = spans.iter().find(|span| span.name == "GET /orders/{id}").unwrap();
        assert_eq!(ids(span), (begun.trace_id(), begun.span_id(), String::new()));
    });
}

#[test]
fn without_an_endpoint_nothing_is_recorded() {
    alone(&[], async {
        let app = Served::start(&[]).await;
        assert!(!app.order("").await.is_sampled());
        assert!(!app.app.metrics().render(Format::Prometheus).contains("otlp_"));
        app.stop().await;
    });
}

#[tokio::test]
async fn an_https_endpoint_is_refused_at_the_start_with_the_reason() {
    let settings = [("OTEL_EXPORTER_OTLP_ENDPOINT", "https://collector:4318")];
    let app = Mainstay::builder("t", "1").configure(|config| config.no_files().env_vars(settings));
    let error = app.start().await.unwrap_err().to_string();
    assert!(
        error.contains("OTEL_EXPORTER_OTLP_ENDPOINT") && error.contains("https is not in this build"),
        "{error}"
    );
}
