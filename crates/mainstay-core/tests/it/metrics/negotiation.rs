//! Which format a client gets.

use mainstay_core::metrics::Format;

#[test]
fn the_accept_header_chooses_the_format() {
    let prometheus_2 = "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
    let prometheus_3 = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,text/plain;version=0.0.4;q=0.2,*/*;q=0.1";
    let text_first =
        "text/plain;version=0.0.4;q=0.6,application/openmetrics-text;version=1.0.0;q=0.5,*/*;q=0.1";
    let cases = [
        ("", Format::Prometheus),
        ("*/*", Format::Prometheus),
        ("text/html,application/xhtml+xml,*/*;q=0.8", Format::Prometheus),
        ("application/openmetrics-text", Format::OpenMetrics),
        ("Application/OpenMetrics-Text; Version=1.0.0; Q=0.1", Format::OpenMetrics),
        ("application/openmetrics-text; version=\"1.0.0\"", Format::OpenMetrics),
        (prometheus_2, Format::OpenMetrics),
        (prometheus_3, Format::OpenMetrics),
        (text_first, Format::Prometheus),
        ("application/openmetrics-text;q=0", Format::Prometheus),
        ("application/openmetrics-text;q=0,*/*", Format::Prometheus),
        ("application/openmetrics-text;version=9.9", Format::Prometheus),
        ("application/openmetrics-text;q=high", Format::Prometheus),
        ("application/openmetrics-text;q=0.5,*/*;q=0.9", Format::Prometheus),
        ("application/openmetrics-text;q=0.5,text/plain;q=0.1,*/*;q=0.9", Format::OpenMetrics),
        (";;;,,=q", Format::Prometheus),
    ];
    for (accept, format) in cases {
        assert_eq!(Format::from_accept(accept), format, "{accept}");
    }
}

#[test]
fn content_types_name_format_version_and_charset() {
    assert_eq!(Format::Prometheus.content_type(), "text/plain; version=0.0.4; charset=utf-8");
    let open = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    assert_eq!(Format::OpenMetrics.content_type(), open);
}
