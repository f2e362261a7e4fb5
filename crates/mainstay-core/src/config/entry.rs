//! The effective configuration, for people to read.

use std::fmt;

use serde_json::{Map, Value, json};

use super::Config;
use super::field::Field;
use super::layer::Origin;
use super::schema::Tree;
use crate::secret::REDACTED;

/// One effective setting. `Display` gives a line such as `server.port = 8080 (env PORT)`.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Entry {
    /// Section and key.
    pub path: String,
    /// The value; `null` if unset, `"***"` for a secret, milliseconds for a duration.
    pub value: Value,
    /// The layer that set it.
    pub origin: Origin,
    /// The environment variable that can set it.
    pub env: Option<&'static str>,
    /// Whether only a restart can change it.
    pub restart: bool,
    /// The value as a person would write it.
    text: String,
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} = {} ({})", self.path, self.text, self.origin)
    }
}

impl Config {
    /// The effective value at `path`, in the form of [`Entry::value`]; `None` for an unknown path.
    #[must_use]
    pub fn value(&self, path: &str) -> Option<Value> {
        let field = self.shared.schema.field(path)?;
        Some(redacted(field, path, &self.shared.current.load()))
    }

    /// All settings sorted by path.
    #[must_use]
    pub fn entries(&self) -> Vec<Entry> {
        let tree = self.shared.current.load_full();
        let entry = |(path, field): (&str, &'static Field)| {
            let setting = tree.merged.get(path);
            let text = match setting {
                Some(setting) => field
                    .show(&setting.value)
                    .map_or_else(|| REDACTED.to_owned(), |text| text.escape_debug().to_string()),
                None => "unset".to_owned(),
            };
            Entry {
                path: path.to_owned(),
                value: redacted(field, path, &tree),
                origin: setting.map_or(Origin::Default, |setting| setting.origin.clone()),
                env: field.env.first().copied(),
                restart: field.restart,
                text,
            }
        };
        self.shared.schema.fields().map(entry).collect()
    }

    /// All settings as `{"section": {"key": {"value": …, "origin": "…"}}}`, secrets redacted.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let mut sections = Map::new();
        for entry in self.entries() {
            let Some((section, key)) = entry.path.rsplit_once('.') else { continue };
            let shown = json!({ "value": entry.value, "origin": entry.origin.to_string() });
            sections.entry(section).or_insert_with(|| json!({}))[key] = shown;
        }
        Value::Object(sections)
    }
}

fn redacted(field: &Field, path: &str, tree: &Tree) -> Value {
    match tree.merged.get(path) {
        None => Value::Null,
        Some(_) if field.is_secret() => REDACTED.into(),
        Some(setting) => setting.value.clone(),
    }
}
