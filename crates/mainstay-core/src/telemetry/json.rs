//! One JSON object: `timestamp`, `level`, `target`, `message`, `span`, then the fields of the event
//! and of its spans at the top level. The event wins over its spans, an inner span over an outer one.

use std::fmt::Write;

use serde::ser::{Serialize, SerializeMap, Serializer};

use super::fields::Value;
use super::line::Line;
use super::text::is_hostile;

/// Keys the line itself uses; a field of that name is written as `field.<name>`.
const OWN: [&str; 5] = ["timestamp", "level", "target", "message", "span"];

pub(super) fn line(line: &Line<'_>) -> String {
    let json = serde_json::to_string(line).expect("text keys and plain values always serialize");
    if !json.contains(is_hostile) {
        return json;
    }
    // JSON itself only asks for C0 to be escaped; the rest can stand inside strings alone.
    json.chars().fold(String::with_capacity(json.len()), |mut escaped, c| {
        if is_hostile(c) {
            // Writing to a string does not fail.
            let _ = write!(escaped, "\\u{:04x}", u32::from(c));
        } else {
            escaped.push(c);
        }
        escaped
    })
}

impl Serialize for Line<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_map(None)?;
        object.serialize_entry("timestamp", &format_args!("{:.6}", self.time))?;
        object.serialize_entry("level", self.level.as_str())?;
        object.serialize_entry("target", self.target)?;
        object.serialize_entry("message", self.event.message.as_deref().unwrap_or_default())?;
        if !self.spans.is_empty() {
            let names: Vec<_> = self.spans.iter().map(|(name, _)| *name).collect();
            object.serialize_entry("span", &names.join(":"))?;
        }
        for (name, value) in self.fields() {
            if OWN.contains(&name) {
                object.serialize_entry(&format_args!("field.{name}"), value)?;
            } else {
                object.serialize_entry(name, value)?;
            }
        }
        object.end()
    }
}

impl Line<'_> {
    /// Each name once: two equal keys in an object are read differently by different parsers.
    fn fields(&self) -> Vec<(&'static str, &Value)> {
        let mut fields: Vec<(&'static str, &Value)> = Vec::new();
        let inner_first = self.spans.iter().rev().map(|(_, fields)| &**fields);
        for (name, value) in std::iter::once(&self.event).chain(inner_first).flat_map(|f| &f.others) {
            if !fields.iter().any(|(known, _)| known == name) {
                fields.push((*name, value));
            }
        }
        fields
    }
}
