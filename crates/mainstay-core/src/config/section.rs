//! A group of settings with a name, a table and a type.

use std::any::{Any, TypeId};
use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde::de::value::MapDeserializer;
use serde_json::Value;

use super::field::{Field, Kind};
use super::layer::Layer;
use super::problem::Report;
use super::schema::Schema;
use super::sections::Environment;
use crate::secret::REDACTED;

/// A typed group of settings. Services declare their own the same way as the built-in ones.
///
/// ```
/// use mainstay_core::config::{Checks, Config, Field, Kind, Section, millis};
/// use serde::{Deserialize, Serialize};
/// use std::time::Duration;
///
/// #[derive(Debug, Serialize, Deserialize)]
/// struct Billing {
///     batch: u32,
///     #[serde(with = "millis")]
///     pause: Duration,
///     account: Option<String>,
/// }
///
/// impl Section for Billing {
///     const NAME: &'static str = "billing";
///     const FIELDS: &'static [Field] = &[
///         Field::new("batch", Kind::Integer { min: 1, max: 1000 }, "Invoices sent at once")
///             .env(&["BILLING_BATCH"])
///             .default("50"),
///         Field::new("pause", Kind::DURATION, "Wait between batches").env(&["BILLING_PAUSE"]).default("2s"),
///         Field::new("account", Kind::Text, "Account of the payment provider"),
///     ];
///
///     fn validate(&self, checks: &mut Checks<'_>) {
///         if self.batch > 100 && self.pause < Duration::from_secs(1) {
///             checks.refuse(&["pause", "batch"], "must be at least 1s for batches above 100");
///         }
///     }
/// }
///
/// let config = Config::builder().section::<Billing>().no_files().env_vars([("BILLING_BATCH", "20")]).load()?;
/// assert_eq!(config.get::<Billing>().batch, 20);
/// # Ok::<(), mainstay_core::config::Problems>(())
/// ```
pub trait Section: Serialize + DeserializeOwned + Send + Sync + 'static {
    /// The table's name in files and the first part of every path.
    const NAME: &'static str;
    /// One row for each field of the type, under the field's name.
    const FIELDS: &'static [Field];

    /// Rules that involve several settings. Rules on one setting belong into its row.
    fn validate(&self, checks: &mut Checks<'_>) {
        let _ = checks;
    }
}

/// A section with its defaults in development, one of them replaced. Computed defaults are absent.
fn with_defaults<S: Section>(replaced: Option<(&'static str, Value)>) -> Result<S, String> {
    let read = |field: &Field| Some((field.name, field.default_value(Environment::Development).ok()??));
    let mut values: BTreeMap<&str, Value> = S::FIELDS.iter().filter_map(read).collect();
    values.extend(replaced);
    S::deserialize(MapDeserializer::<_, serde_json::Error>::new(values.into_iter()))
        .map_err(|error| error.to_string())
}

/// The defaults of a built-in section in development; a test proves that they fit.
pub(super) fn defaults<S: Section>() -> S {
    with_defaults(None).expect("the table of a built-in section fits its type")
}

/// Where a section's table and its type disagree; empty if they agree. For a test of each section:
/// a field without a row, a row without a field, a default or a word that the type does not accept.
#[must_use]
pub fn disagreements<S: Section>() -> Vec<String> {
    let mut found = Vec::new();
    for (at, field) in S::FIELDS.iter().enumerate() {
        if S::FIELDS[..at].iter().any(|other| other.name == field.name) {
            found.push(format!("{} has two rows", field.name));
        }
        if [Environment::Development, Environment::Production]
            .map(|env| field.default_value(env))
            .contains(&Err(()))
        {
            found.push(format!("{}: the default is not {}", field.name, field.expected()));
        }
        found.extend(unfit_kind::<S>(field));
    }
    match with_defaults::<S>(None).map(serde_json::to_value) {
        Ok(Ok(Value::Object(fields))) => {
            let in_table = |name: &str| S::FIELDS.iter().any(|field| field.name == name);
            found.extend(
                fields.keys().filter(|name| !in_table(name)).map(|name| format!("{name} has no row")),
            );
            let missing = S::FIELDS.iter().filter(|field| !fields.contains_key(field.name));
            found.extend(missing.map(|field| format!("the type has no field {}", field.name)));
        }
        Ok(_) => found.push("the type is not a struct with named fields".to_owned()),
        Err(error) => found.push(format!("the defaults do not fit the type: {error}")),
    }
    found
}

/// What the type of one field says against its kind.
fn unfit_kind<S: Section>(field: &Field) -> Option<String> {
    let with = |text: &str| with_defaults::<S>(Some((field.name, text.into())));
    let hides = |section: S| {
        serde_json::to_value(section).is_ok_and(|shown| shown.get(field.name) == Some(&REDACTED.into()))
    };
    match field.kind {
        Kind::Enum(words) => {
            let refused = words.iter().find(|word| with(word).is_err())?;
            Some(format!("{}: the type does not accept {refused}", field.name))
        }
        Kind::Secret if !with("a secret").is_ok_and(hides) => {
            Some(format!("{}: a secret whose type is not Secret<String>", field.name))
        }
        Kind::Text if with("a text").is_ok_and(hides) => {
            Some(format!("{}: a Secret whose kind is not Kind::Secret", field.name))
        }
        _ => None,
    }
}

/// Collects what [`Section::validate`] refuses.
pub struct Checks<'a> {
    pub(super) section: &'static str,
    pub(super) schema: &'a Schema,
    pub(super) merged: &'a Layer,
    pub(super) report: &'a mut Report,
}

impl Checks<'_> {
    /// Refuses the value of `fields[0]` because of the others. `message` completes the sentence that
    /// starts with the name and value the user typed; the other fields are added with theirs.
    ///
    /// A field is a name in this section or a whole path in another. Nothing is added if one of the
    /// fields already has a problem of its own.
    pub fn refuse(&mut self, fields: &[&str], message: &str) {
        let paths: Vec<String> = fields.iter().map(|field| self.path(field)).collect();
        if paths.iter().any(|path| self.report.is_broken(path)) {
            return;
        }
        let mut described = paths.iter().map(|path| self.describe(path));
        let Some((name, value)) = described.next() else { return };
        let others: Vec<String> = described
            .map(|(name, value)| value.map_or_else(|| name.clone(), |value| format!("{name}={value}")))
            .collect();
        let others = if others.is_empty() { String::new() } else { format!(" ({})", others.join(", ")) };
        self.report.add(name, value, format!("{message}{others}"));
    }

    /// The effective value at a whole path such as `metrics.path`, for rules across sections.
    #[must_use]
    pub fn value(&self, path: &str) -> Option<&Value> {
        self.merged.get(path).map(|setting| &setting.value)
    }

    fn path(&self, field: &str) -> String {
        if field.contains('.') { field.to_owned() } else { format!("{}.{field}", self.section) }
    }

    /// The name to show for a path and its value unless it is secret or unset.
    fn describe(&self, path: &str) -> (String, Option<String>) {
        let field = self.schema.field(path);
        match (self.merged.get(path), field) {
            (Some(setting), Some(field)) => (setting.typed.clone(), field.show(&setting.value)),
            (_, field) => {
                let env = field.and_then(|field| field.env.first());
                (env.map_or_else(|| path.to_owned(), |env| (*env).to_owned()), None)
            }
        }
    }
}

/// A section whose type is known only to its own functions.
pub(super) type Erased = Arc<dyn Any + Send + Sync>;

/// Which section: its type, and its path, by which those of one type are told apart.
pub(super) type SectionId = (TypeId, String);

/// The id of the one section of a type.
pub(super) fn id_of<S: Section>() -> SectionId {
    (TypeId::of::<S>(), S::NAME.to_owned())
}

/// The id of one of several sections of a type.
pub(super) fn id_of_named<S: Section>(name: &str) -> SectionId {
    (TypeId::of::<S>(), format!("{}.{name}", S::NAME))
}

/// How to handle a section without naming its type.
#[derive(Clone)]
pub(super) struct SectionDef {
    pub(super) name: &'static str,
    pub(super) fields: &'static [Field],
    pub(super) id: SectionId,
    build: fn(&str, &Layer) -> Result<Erased, serde_json::Error>,
    validate: fn(&Erased, &mut Checks<'_>),
}

impl SectionDef {
    pub(super) fn of<S: Section>() -> Self {
        Self {
            name: S::NAME,
            fields: S::FIELDS,
            id: id_of::<S>(),
            build: build::<S>,
            validate: validate::<S>,
        }
    }

    /// Under another name, for people.
    pub(super) fn called(self, name: &'static str) -> Self {
        Self { name, ..self }
    }

    /// One of several sections of a type: `[section.name]`. A `*` in the name of a variable stands for its own.
    pub(super) fn named<S: Section>(name: &str) -> Self {
        let id = id_of_named::<S>(name);
        let own = name.to_ascii_uppercase().replace(|letter: char| !letter.is_ascii_alphanumeric(), "_");
        let field = |field: &Field| {
            let env = field.env.iter().map(|variable| for_ever(variable.replace('*', &own)));
            let mut field = *field;
            field.env = Vec::leak(env.collect());
            field
        };
        Self {
            name: for_ever(id.1.clone()),
            fields: Vec::leak(S::FIELDS.iter().map(field).collect()),
            ..Self { id, ..Self::of::<S>() }
        }
    }

    /// The typed section from merged settings; a problem if the table promises more than the type takes.
    pub(super) fn build(&self, merged: &Layer, report: &mut Report) -> Option<Erased> {
        let refused = |error: serde_json::Error| {
            // The error may quote the value of a secret whose type is not `Secret`.
            let secrets = self.fields.iter().any(Field::is_secret);
            let why = if secrets { "see config::disagreements".to_owned() } else { error.to_string() };
            report.add(self.name, None, format!("the values do not fit the type: {why}"));
        };
        (self.build)(self.name, merged).map_err(refused).ok()
    }

    pub(super) fn validate(&self, section: &Erased, checks: &mut Checks<'_>) {
        (self.validate)(section, checks);
    }
}

/// Names are `'static`, as those that are written in the program. A service names few, when it starts.
fn for_ever(name: String) -> &'static str {
    String::leak(name)
}

fn build<S: Section>(name: &str, merged: &Layer) -> Result<Erased, serde_json::Error> {
    let values = S::FIELDS.iter().filter_map(|field| {
        let setting = merged.get(&format!("{name}.{}", field.name))?;
        Some((field.name, &setting.value))
    });
    let section = S::deserialize(MapDeserializer::<_, serde_json::Error>::new(values))?;
    Ok(Arc::new(section))
}

fn validate<S: Section>(section: &Erased, checks: &mut Checks<'_>) {
    section.downcast_ref::<S>().expect("a section is built by its own definition").validate(checks);
}
