//! Writes an event with the fields of all its spans as one line.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

use super::fields::Fields;
use super::{Format, json, pretty};

/// Everything that goes into a line.
pub(super) struct Line<'a> {
    pub(super) time: jiff::Timestamp,
    pub(super) level: tracing::Level,
    pub(super) target: &'a str,
    pub(super) event: Fields,
    /// From the outermost to the current one.
    pub(super) spans: &'a [(&'static str, Arc<Fields>)],
}

pub(super) struct LineLayer {
    pub(super) format: Format,
    pub(super) color: bool,
    pub(super) writer: Mutex<Box<dyn io::Write + Send>>,
}

impl LineLayer {
    /// Blocks until the line is written. Errors (a closed pipe, a full disk) are ignored: there is
    /// nowhere left to report them, and logging must not stop the service.
    fn write(&self, line: &Line<'_>) {
        let mut text = match self.format {
            Format::Pretty => pretty::line(line, self.color),
            Format::Json => json::line(line),
        };
        text.push('\n');
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = writer.write_all(text.as_bytes()).and_then(|()| writer.flush());
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for LineLayer {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        if let Some(span) = context.span(id) {
            span.extensions_mut().replace(Arc::new(fields));
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        // Formatted before the span is locked: a formatter may log.
        let mut new = Fields::default();
        values.record(&mut new);
        if let Some(span) = context.span(id)
            && let Some(fields) = span.extensions_mut().get_mut::<Arc<Fields>>()
        {
            Arc::make_mut(fields).merge(new);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let scope = context.event_scope(event);
        let spans: Vec<_> = scope
            .into_iter()
            .flat_map(|scope| scope.from_root())
            .map(|span| {
                let fields = span.extensions().get::<Arc<Fields>>().cloned().unwrap_or_default();
                (span.name(), fields)
            })
            .collect();
        self.write(&Line {
            time: jiff::Timestamp::now(),
            level: *event.metadata().level(),
            target: event.metadata().target(),
            event: fields,
            spans: &spans,
        });
    }
}
