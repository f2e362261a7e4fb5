//! One TOML file, with the line of each key.

use std::ops::Range;

use serde_json::Value;
use toml::de::{DeTable, DeValue};

use super::layer::{Layer, Origin, Raw, put};
use super::problem::{Report, did_you_mean};
use super::schema::Schema;
use super::suggest::nearest;

/// Puts the settings of one file into `layer`. `chosen_by_environment` is true for
/// `mainstay.<env>.toml`, which cannot change the environment that chose it.
pub(super) fn parse(
    layer: &mut Layer,
    name: &str,
    text: &str,
    chosen_by_environment: bool,
    schema: &Schema,
    report: &mut Report,
) {
    let at = |span: Range<usize>| {
        let before = text.as_bytes().get(..span.start).unwrap_or_default();
        format!("{name}:{}", 1 + before.iter().filter(|byte| **byte == b'\n').count())
    };
    // Only the message: the error's own text would quote the line, which may hold a secret.
    let (document, errors) = DeTable::parse_recoverable(text);
    for error in &errors {
        report.add(error.span().map_or_else(|| name.to_owned(), &at), None, error.message());
    }
    if !errors.is_empty() {
        return;
    }
    let sections = document.get_ref().iter().flat_map(|(key, content)| {
        let name = key.get_ref().as_ref();
        let several = schema.sections.iter().any(|known| belongs_to(known.name, name));
        match content.get_ref() {
            DeValue::Table(named) if several => {
                let inner =
                    named.iter().map(|(key, content)| (key, format!("{name}.{}", key.get_ref()), content));
                inner.collect()
            }
            _ => vec![(key, name.to_owned(), content)],
        }
    });
    for (key, section, content) in sections {
        let place = at(key.span());
        let section = section.as_str();
        let DeValue::Table(settings) = content.get_ref() else {
            report.add(format!("{place} {section}"), None, not_a_section(schema, section));
            continue;
        };
        let sections = || schema.sections.iter().map(|section| section.name);
        if !sections().any(|known| known == section) {
            let suggestion = nearest(section, sections());
            report.add(
                format!("{place} {section}"),
                None,
                format!("unknown section{}", did_you_mean(suggestion)),
            );
            continue;
        }
        for (key, content) in settings {
            let path = format!("{section}.{}", key.get_ref());
            let typed = format!("{} {path}", at(key.span()));
            let Some(field) = schema.field(&path) else {
                report.add(typed, None, format!("unknown key{}", did_you_mean(schema.suggest(&path))));
                continue;
            };
            if chosen_by_environment && path == "server.env" {
                report.add(typed, None, "cannot be set in the file that it chooses");
                continue;
            }
            let Some(value) = json(content.get_ref()) else {
                let source = text.get(content.span()).filter(|_| !field.is_secret());
                report.mark_broken(&path);
                report.add(typed, source.map(str::to_owned), format!("expected {}", field.expected()));
                continue;
            };
            let origin = Origin::File(name.to_owned());
            put(layer, Raw { path: &path, value: &value, origin, typed }, schema, report);
        }
    }
}

/// Whether a section is one of several: `pipelines.billing` of `pipelines`.
fn belongs_to(section: &str, group: &str) -> bool {
    section.strip_prefix(group).is_some_and(|rest| rest.starts_with('.'))
}

fn not_a_section(schema: &Schema, key: &str) -> String {
    if schema.sections.iter().any(|section| section.name == key) {
        return format!("expected a section: [{key}] on a line of its own");
    }
    format!("unknown key outside of a section{}", did_you_mean(schema.suggest(key)))
}

/// The value, if some kind of setting could take it: no float, date or table.
fn json(value: &DeValue<'_>) -> Option<Value> {
    Some(match value {
        DeValue::String(text) => text.as_ref().into(),
        DeValue::Integer(digits) => i64::from_str_radix(digits.as_str(), digits.radix()).ok()?.into(),
        DeValue::Boolean(flag) => (*flag).into(),
        DeValue::Array(items) => {
            Value::Array(items.iter().map(|item| json(item.get_ref())).collect::<Option<_>>()?)
        }
        DeValue::Float(_) | DeValue::Datetime(_) | DeValue::Table(_) => return None,
    })
}
