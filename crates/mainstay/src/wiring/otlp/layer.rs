use std::borrow::Cow;
use std::fmt::{self, Write};
use std::sync::Arc;
use std::time::SystemTime;

use mainstay_core::telemetry::trace_context::TraceContext;
use opentelemetry::trace::{SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState};
use opentelemetry::{InstrumentationScope, KeyValue, Value};
use opentelemetry_sdk::trace::{IdGenerator, RandomIdGenerator, SpanData, SpanEvents, SpanLinks};
use tracing::Subscriber;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

use super::export::Queue;

/// Makes spans of OpenTelemetry from those of `tracing` that belong to a recorded trace.
///
/// A trace begins at a span with the field `otel.traceparent`, which says the span's own place, and
/// goes on in the spans inside it. `otel.parent` is the caller's `traceparent`; `otel.name` and
/// `otel.kind` are what they say; of any other field `otel.x` the attribute is `x`.
pub(super) struct SpanLayer {
    queue: Arc<Queue>,
    scope: InstrumentationScope,
    ids: RandomIdGenerator,
}

impl SpanLayer {
    pub(super) fn new(queue: Arc<Queue>, scope: InstrumentationScope) -> Self {
        Self { queue, scope, ids: RandomIdGenerator::default() }
    }

    fn child_of(&self, parent: &SpanContext) -> SpanContext {
        let id = self.ids.new_span_id();
        SpanContext::new(parent.trace_id(), id, TraceFlags::SAMPLED, false, TraceState::NONE)
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for SpanLayer {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        let (span_context, parent, remote) = match fields.place {
            Some(place) => (place, fields.caller, true),
            None => {
                let enclosing = span.parent();
                let enclosing = enclosing.as_ref().map(|span| span.extensions());
                let data = enclosing.as_ref().and_then(|extensions| extensions.get::<SpanData>());
                let Some(parent) = data.map(|data| data.span_context.clone()) else { return };
                (self.child_of(&parent), Some(parent), false)
            }
        };
        if !span_context.is_sampled() {
            return;
        }
        let now = now();
        span.extensions_mut().replace(SpanData {
            span_context,
            parent_span_id: parent.as_ref().map_or(SpanId::INVALID, SpanContext::span_id),
            parent_span_is_remote: remote && parent.is_some(),
            span_kind: fields.kind.unwrap_or(SpanKind::Internal),
            name: fields.name.map_or(Cow::Borrowed(span.name()), Cow::Owned),
            start_time: now,
            end_time: now,
            attributes: fields.attributes,
            dropped_attributes_count: 0,
            events: SpanEvents::default(),
            links: SpanLinks::default(),
            status: fields.status,
            instrumentation_scope: self.scope.clone(),
        });
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        // Before the span is locked: a value that is printed may log.
        let mut fields = Fields::default();
        values.record(&mut fields);
        if let Some(span) = context.span(id)
            && let Some(data) = span.extensions_mut().get_mut::<SpanData>()
        {
            data.attributes.extend(fields.attributes);
            if fields.status != Status::Unset {
                data.status = fields.status;
            }
        }
    }

    /// A span ends when it is left for the last time. A task that it began can keep it open for long.
    fn on_exit(&self, id: &Id, context: Context<'_, S>) {
        if let Some(span) = context.span(id)
            && let Some(data) = span.extensions_mut().get_mut::<SpanData>()
        {
            data.end_time = now();
        }
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        let data = context.span(&id).and_then(|span| span.extensions_mut().remove::<SpanData>());
        if let Some(data) = data {
            self.queue.push(data);
        }
    }
}

fn now() -> SystemTime {
    jiff::Timestamp::now().into()
}

#[derive(Default)]
struct Fields {
    place: Option<SpanContext>,
    caller: Option<SpanContext>,
    name: Option<String>,
    kind: Option<SpanKind>,
    status: Status,
    attributes: Vec<KeyValue>,
}

impl Fields {
    fn set(&mut self, field: &Field, value: Value) {
        let attribute = match (field.name(), &value) {
            ("otel.traceparent", Value::String(text)) => return self.place = context_of(text.as_str()),
            ("otel.parent", Value::String(text)) => return self.caller = context_of(text.as_str()),
            ("otel.name", Value::String(text)) => return self.name = Some(text.to_string()),
            ("otel.kind", Value::String(text)) => return self.kind = kind_of(text.as_str()),
            // The trace is in the span itself.
            ("trace_id", _) => return,
            (name, _) => name.strip_prefix("otel.").unwrap_or(name),
        };
        // For a server, what the client did wrong is no error.
        if let ("http.response.status_code", Value::I64(500..)) = (attribute, &value) {
            self.status = Status::error("");
        }
        self.attributes.push(KeyValue::new(attribute, value));
    }
}

impl Visit for Fields {
    fn record_bool(&mut self, field: &Field, value: bool) {
        self.set(field, value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.set(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        // OpenTelemetry has no unsigned numbers.
        self.set(field, i64::try_from(value).map_or_else(|_| value.to_string().into(), Value::from));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.set(field, value.into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.set(field, value.to_owned().into());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let mut text = String::new();
        // What could be printed: a formatter that fails must not panic the thread.
        let _ = write!(text, "{value:?}");
        self.set(field, text.into());
    }
}

fn context_of(traceparent: &str) -> Option<SpanContext> {
    let trace = TraceContext::parse(traceparent)?;
    let trace_id = TraceId::from_hex(&trace.trace_id()).ok()?;
    let span_id = SpanId::from_hex(&trace.span_id()).ok()?;
    let flags = TraceFlags::default().with_sampled(trace.is_sampled());
    Some(SpanContext::new(trace_id, span_id, flags, true, TraceState::NONE))
}

fn kind_of(text: &str) -> Option<SpanKind> {
    match text {
        "server" => Some(SpanKind::Server),
        "client" => Some(SpanKind::Client),
        "producer" => Some(SpanKind::Producer),
        "consumer" => Some(SpanKind::Consumer),
        _ => None,
    }
}
