//! One line for people: `time LEVEL target: message key=value  span{key=value}`.
//!
//! No value can start a new line, move the cursor or look like another field: hostile characters
//! are escaped, and a value with a space, `=`, a brace or `"` is quoted.

use std::fmt::Write;

use super::fields::{Fields, Value};
use super::line::Line;
use super::text::is_hostile;

const DIM: &str = "\x1b[2m";
const RESET: &str = "\x1b[0m";

pub(super) fn line(line: &Line<'_>, color: bool) -> String {
    let paint = |style| if color { style } else { "" };
    let (dim, reset) = (paint(DIM), paint(RESET));
    let level = paint(match line.level {
        tracing::Level::ERROR => "\x1b[31m",
        tracing::Level::WARN => "\x1b[33m",
        tracing::Level::INFO => "\x1b[32m",
        tracing::Level::DEBUG => "\x1b[34m",
        tracing::Level::TRACE => "\x1b[35m",
    });
    let mut text = String::with_capacity(160);
    // Writing to a string does not fail.
    let _ = write!(
        text,
        "{dim}{:.3}{reset} {level}{:>5}{reset} {dim}{}:{reset} ",
        line.time, line.level, line.target
    );
    escape(&mut text, line.event.message.as_deref().unwrap_or_default());
    fields(&mut text, &line.event, " ");
    if !line.spans.is_empty() {
        text.push(' ');
        text.push_str(dim);
        for (name, span) in line.spans {
            text.push(' ');
            text.push_str(name);
            text.push('{');
            fields(&mut text, span, "");
            text.push('}');
        }
        text.push_str(reset);
    }
    text
}

fn fields(text: &mut String, fields: &Fields, before_first: &str) {
    let mut separator = before_first;
    for (name, value) in &fields.others {
        text.push_str(separator);
        separator = " ";
        text.push_str(name);
        text.push('=');
        match value {
            Value::Text(value) => quoted(text, value),
            Value::Bool(value) => _ = write!(text, "{value}"),
            Value::Signed(value) => _ = write!(text, "{value}"),
            Value::Unsigned(value) => _ = write!(text, "{value}"),
            Value::Float(value) => _ = write!(text, "{value}"),
        }
    }
}

fn quoted(text: &mut String, value: &str) {
    let special = |c: char| c.is_whitespace() || matches!(c, '"' | '=' | '{' | '}');
    if value.is_empty() || value.contains(special) {
        text.push('"');
        escape(text, &value.replace('\\', "\\\\").replace('"', "\\\""));
        text.push('"');
    } else {
        escape(text, value);
    }
}

fn escape(text: &mut String, value: &str) {
    for c in value.chars() {
        if is_hostile(c) {
            text.extend(c.escape_default());
        } else {
            text.push(c);
        }
    }
}
