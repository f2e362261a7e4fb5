//! Settings by path, layer by layer.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde_json::Value;
use zeroize::Zeroize;

use super::problem::Report;
use super::schema::Schema;

/// Which layer a value comes from. `Display` gives `default`, `file mainstay.toml`, `env PORT`,
/// `env REDIS_PASSWORD_FILE`, `command line` or `run-time update`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Origin {
    /// Nobody set it.
    Default,
    /// This configuration file.
    File(String),
    /// This environment variable; one that ends in `_FILE` names the file that holds the value.
    Env(String),
    /// An argument of the process.
    CommandLine,
    /// [`Config::update`](super::Config::update).
    Update,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(name) => write!(f, "file {name}"),
            Self::Env(name) => write!(f, "env {name}"),
            Self::CommandLine => f.write_str("command line"),
            Self::Update => f.write_str("run-time update"),
        }
    }
}

/// A value in the form its kind keeps, with where it came from. No `Debug`: it may be a secret.
pub(super) struct Setting {
    pub(super) value: Value,
    pub(super) origin: Origin,
    /// The name under which a person typed it.
    pub(super) typed: String,
}

impl Drop for Setting {
    fn drop(&mut self) {
        if let Value::String(text) = &mut self.value {
            text.zeroize();
        }
    }
}

/// Settings by path (`server.port`). An unset one is absent.
pub(super) type Layer = BTreeMap<String, Arc<Setting>>;

/// A raw value on its way into a layer.
pub(super) struct Raw<'a> {
    pub(super) path: &'a str,
    pub(super) value: &'a Value,
    pub(super) origin: Origin,
    pub(super) typed: String,
}

/// Reads `raw` by its row of the table and puts it into `layer`; what does not fit is reported.
/// The path must be in the schema.
pub(super) fn put(layer: &mut Layer, raw: Raw<'_>, schema: &Schema, report: &mut Report) {
    let Some(field) = schema.field(raw.path) else { return };
    match field.read(raw.value) {
        Ok(Some(value)) => {
            let setting = Setting { value, origin: raw.origin, typed: raw.typed };
            layer.insert(raw.path.to_owned(), Arc::new(setting));
        }
        Ok(None) => {}
        Err(()) => {
            let shown = match raw.value {
                _ if field.is_secret() => None,
                Value::String(text) => Some(text.clone()),
                other => Some(other.to_string()),
            };
            report.mark_broken(raw.path);
            report.add(raw.typed, shown, format!("expected {}", field.expected()));
        }
    }
}

/// The layers, lowest first.
#[derive(Clone, Default)]
pub(super) struct Layers {
    pub(super) defaults: Layer,
    pub(super) files: Layer,
    pub(super) env: Layer,
    pub(super) command_line: Layer,
    pub(super) updates: Layer,
}

impl Layers {
    /// For each path the setting of the highest layer that has one.
    pub(super) fn merged(&self) -> Layer {
        let mut merged = self.defaults.clone();
        for layer in [&self.files, &self.env, &self.command_line, &self.updates] {
            merged.extend(layer.iter().map(|(path, setting)| (path.clone(), Arc::clone(setting))));
        }
        merged
    }
}
