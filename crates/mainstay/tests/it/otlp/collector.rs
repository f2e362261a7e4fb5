use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::routing::post;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value::Value};
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use tokio::net::TcpListener;

type Received = Arc<Mutex<Vec<ExportTraceServiceRequest>>>;

/// Keeps what is posted to `/v1/traces`.
pub(super) struct Collector {
    addr: SocketAddr,
    received: Received,
}

impl Collector {
    pub(super) async fn start(addr: SocketAddr) -> Self {
        async fn take(State(received): State<Received>, headers: HeaderMap, body: Bytes) {
            assert_eq!(headers["content-type"], "application/x-protobuf");
            received.lock().unwrap().push(ExportTraceServiceRequest::decode(body).unwrap());
        }
        let received = Received::default();
        let routes = Router::new().route("/v1/traces", post(take)).with_state(Arc::clone(&received));
        let listener = TcpListener::bind(addr).await.unwrap();
        tokio::spawn(async move { axum::serve(listener, routes).await });
        Self { addr, received }
    }

    pub(super) fn endpoint(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// An attribute of the service that exported.
    pub(super) fn resource(&self, name: &str) -> Option<String> {
        let received = self.received.lock().unwrap();
        attribute(&received.first()?.resource_spans.first()?.resource.as_ref()?.attributes, name)
    }

    pub(super) fn spans(&self) -> Vec<Span> {
        let received = self.received.lock().unwrap();
        let resources = received.iter().flat_map(|request| &request.resource_spans);
        resources.flat_map(|resource| &resource.scope_spans).flat_map(|scope| scope.spans.clone()).collect()
    }
}

pub(super) fn attribute(attributes: &[KeyValue], name: &str) -> Option<String> {
    match attributes.iter().find(|attribute| attribute.key == name)?.value.as_ref()?.value.as_ref()? {
        Value::StringValue(text) => Some(text.clone()),
        Value::IntValue(number) => Some(number.to_string()),
        other => Some(format!("{other:?}")),
    }
}
