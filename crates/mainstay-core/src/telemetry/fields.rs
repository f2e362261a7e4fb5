//! The values of an event or a span, kept as values until a line is written.

use std::error::Error;
use std::fmt::{self, Write};

use serde::Serialize;
use tracing::field::{Field, Visit};

/// What `tracing` can carry.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub(super) enum Value {
    Bool(bool),
    Signed(i64),
    Unsigned(u64),
    Float(f64),
    Text(String),
}

/// Fields in the order they were recorded; a name is there once, with its latest value.
#[derive(Debug, Clone, Default)]
pub(super) struct Fields {
    pub(super) message: Option<String>,
    pub(super) others: Vec<(&'static str, Value)>,
}

/// Names in this namespace speak to exporters of traces. No line has them.
const FOR_EXPORTERS: &str = "otel.";

impl Fields {
    pub(super) fn merge(&mut self, newer: Self) {
        self.message = newer.message.or(self.message.take());
        for (name, value) in newer.others {
            self.insert(name, value);
        }
    }

    fn set(&mut self, field: &Field, value: Value) {
        match (field.name(), value) {
            (name, _) if name.starts_with(FOR_EXPORTERS) => {}
            ("message", Value::Text(text)) => self.message = Some(text),
            (name, value) => self.insert(name, value),
        }
    }

    fn insert(&mut self, name: &'static str, value: Value) {
        match self.others.iter_mut().find(|(known, _)| *known == name) {
            Some((_, old)) => *old = value,
            None => self.others.push((name, value)),
        }
    }
}

impl Visit for Fields {
    fn record_bool(&mut self, field: &Field, value: bool) {
        self.set(field, Value::Bool(value));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.set(field, Value::Signed(value));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.set(field, Value::Unsigned(value));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.set(field, Value::Float(value));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.set(field, Value::Text(value.to_owned()));
    }

    /// With its causes: the first sentence of an error alone rarely says what to do.
    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        let mut text = printed(format_args!("{value}"));
        let mut cause = value.source();
        while let Some(error) = cause {
            text.push_str(": ");
            text.push_str(&printed(format_args!("{error}")));
            cause = error.source();
        }
        self.set(field, Value::Text(text));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Asked before the value is printed, which is the dear part.
        if !field.name().starts_with(FOR_EXPORTERS) {
            self.set(field, Value::Text(printed(format_args!("{value:?}"))));
        }
    }
}

/// What could be printed: a formatter that fails must not panic the thread that logs.
fn printed(text: fmt::Arguments<'_>) -> String {
    let mut printed = String::new();
    let _ = printed.write_fmt(text);
    printed
}
