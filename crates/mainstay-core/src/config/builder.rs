//! Reading a configuration when the process starts.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;

use serde_json::Value;

use super::Config;
use super::layer::{Layer, Layers, Origin, Raw, Setting, put};
use super::problem::{Problems, Report, did_you_mean};
use super::schema::Schema;
use super::section::{Section, SectionDef};
use super::sections::{Environment, binary_name, builtin, generated_id, several};
use super::sources::{Sources, Variables};
use super::suggest::nearest;

/// Says where a [`Config`] comes from; made by [`Config::builder`].
pub struct Builder {
    sections: Vec<SectionDef>,
    defaults: BTreeMap<String, Value>,
    variables: Option<Vec<(OsString, OsString)>>,
    overrides: Vec<(String, String)>,
    path: Option<PathBuf>,
    files: bool,
}

impl Builder {
    pub(super) fn new() -> Self {
        Self {
            sections: builtin(),
            defaults: BTreeMap::new(),
            variables: None,
            overrides: Vec::new(),
            path: None,
            files: true,
        }
    }

    /// Adds a section of the service's own.
    #[must_use]
    pub fn section<S: Section>(mut self) -> Self {
        self.sections.push(SectionDef::of::<S>());
        self
    }

    /// Adds one of several sections of a type: `[pipelines.billing]` for `NAME` `pipelines` and the name `billing`, and
    /// for the field `attempts` with the variable `PIPELINE_*_ATTEMPTS` the variable `PIPELINE_BILLING_ATTEMPTS`.
    ///
    /// ```
    /// # use mainstay_core::config::{Config, Field, Kind, Section};
    /// #[derive(Debug, serde::Serialize, serde::Deserialize)]
    /// struct Mailbox {
    ///     size: u32,
    /// }
    ///
    /// impl Section for Mailbox {
    ///     const NAME: &'static str = "mailboxes";
    ///     const FIELDS: &'static [Field] =
    ///         &[Field::new("size", Kind::Integer { min: 1, max: 1000 }, "Letters").env(&["MAILBOX_*_SIZE"]).default("10")];
    /// }
    ///
    /// let config = Config::builder().named_section::<Mailbox>("in").named_section::<Mailbox>("out");
    /// let config = config.no_files().env_vars([("MAILBOX_OUT_SIZE", "20")]).load()?;
    /// assert_eq!(config.get_named::<Mailbox>("in").size, 10);
    /// assert_eq!(config.get_named::<Mailbox>("out").size, 20);
    /// # Ok::<(), mainstay_core::config::Problems>(())
    /// ```
    #[must_use]
    pub fn named_section<S: Section>(mut self, name: &str) -> Self {
        self.sections.push(SectionDef::named::<S>(name));
        self
    }

    /// Replaces the default at `path`, for a service with a default of its own such as its name.
    #[must_use]
    pub fn default_value(mut self, path: impl Into<String>, value: impl Into<Value>) -> Self {
        self.defaults.insert(path.into(), value.into());
        self
    }

    /// Uses these variables and not those of the process, so that a test depends on nothing outside.
    #[must_use]
    pub fn env_vars<K, V>(mut self, variables: impl IntoIterator<Item = (K, V)>) -> Self
    where
        K: Into<OsString>,
        V: Into<OsString>,
    {
        self.variables =
            Some(variables.into_iter().map(|(name, value)| (name.into(), value.into())).collect());
        self
    }

    /// Adds settings from the command line: a path (`server.port`) or a variable's name (`PORT`), and
    /// the text of the value. The last one for a setting wins; an empty one sets nothing.
    #[must_use]
    pub fn overrides(mut self, overrides: impl IntoIterator<Item = (String, String)>) -> Self {
        self.overrides.extend(overrides);
        self
    }

    /// Looks for files here and not where `MAINSTAY_CONFIG` says: a directory that may hold
    /// `mainstay.toml` and `mainstay.<env>.toml`, or a file `name.toml`, which must exist and may
    /// have a `name.<env>.toml` beside it.
    #[must_use]
    pub fn path(mut self, path: impl Into<PathBuf>) -> Self {
        self.path = Some(path.into());
        self
    }

    /// Reads no configuration file.
    #[must_use]
    pub const fn no_files(mut self) -> Self {
        self.files = false;
        self
    }

    /// Reads all layers and checks the result as a whole. Reads files: call it before the runtime is
    /// busy, or in `spawn_blocking`.
    ///
    /// # Errors
    /// Every problem found, in one list.
    pub fn load(self) -> Result<Config, Problems> {
        let mut report = Report::default();
        let schema = Schema::new(self.sections, &mut report);
        let variables = self.variables.unwrap_or_else(|| std::env::vars_os().collect());
        let variables = Variables::new(variables, &schema, &mut report);
        let at = self.path.map(|path| ("Builder::path", path)).or_else(|| variables.config_path());
        let mut sources = Sources::new(variables, at, self.files, &schema, &mut report);

        let command_line = command_line(self.overrides, &schema, &mut report);
        let environment = {
            // A first look, only to choose the second file; what is wrong is reported by the real one.
            let (reading, mut ignored) = (sources.read(), Report::default());
            let files = sources.files_layer(&schema, &reading, &BTreeSet::new(), &mut ignored);
            let env = sources.variables.layer(&schema, &reading, &mut ignored);
            environment(&[&command_line, &env, &files])
        };
        sources.set_environment(environment);

        let reading = sources.read();
        let layers = Layers {
            defaults: defaults(self.defaults, environment, &schema, &mut report),
            files: sources.files_layer(&schema, &reading, &BTreeSet::new(), &mut report),
            env: sources.variables.layer(&schema, &reading, &mut report),
            command_line,
            updates: Layer::new(),
        };
        let tree = schema.assemble(layers.merged(), None, report)?;
        Ok(Config::new(schema, sources, layers, tree, &reading))
    }

    /// The table of all settings in Markdown, the service's own included. In the variables of breakers and pipelines
    /// `*` stands for their name.
    #[must_use]
    pub fn reference(&self) -> String {
        let sections = self.sections.iter().cloned().chain(several());
        super::reference::markdown(&sections.collect::<Vec<_>>())
    }
}

/// The environment by the highest layer that names one.
fn environment(layers: &[&Layer]) -> Environment {
    let named = layers.iter().find_map(|layer| layer.get("server.env")).map(|setting| setting.value.clone());
    named.and_then(|value| serde_json::from_value(value).ok()).unwrap_or(Environment::Development)
}

fn defaults(
    own: BTreeMap<String, Value>,
    environment: Environment,
    schema: &Schema,
    report: &mut Report,
) -> Layer {
    let mut layer = Layer::new();
    for (path, field) in schema.fields() {
        match field.default_value(environment) {
            Ok(Some(value)) => {
                let setting = Setting { value, origin: Origin::Default, typed: shown_name(path, schema) };
                layer.insert(path.to_owned(), Arc::new(setting));
            }
            Ok(None) => {}
            Err(()) => report.add(path, None, format!("the default is not {}", field.expected())),
        }
    }
    let computed = [("identity.service_name", binary_name()), ("identity.instance_id", generated_id())];
    let computed = computed.into_iter().filter(|(path, _)| !own.contains_key(*path));
    let computed: Vec<_> = computed.map(|(path, text)| (path.to_owned(), text.into())).collect();
    for (path, value) in own.into_iter().chain(computed) {
        if schema.field(&path).is_none() {
            report.add(&path, None, format!("unknown setting{}", did_you_mean(schema.suggest(&path))));
            continue;
        }
        let raw =
            Raw { path: &path, value: &value, origin: Origin::Default, typed: shown_name(&path, schema) };
        put(&mut layer, raw, schema, report);
    }
    layer
}

/// What to call a setting that nobody typed: its variable, or else its path.
fn shown_name(path: &str, schema: &Schema) -> String {
    let variable = schema.field(path).and_then(|field| field.env.first());
    variable.map_or_else(|| path.to_owned(), |name| (*name).to_owned())
}

fn command_line(overrides: Vec<(String, String)>, schema: &Schema, report: &mut Report) -> Layer {
    let mut layer = Layer::new();
    for (key, text) in overrides {
        let path = schema.field(&key).map(|_| key.as_str()).or_else(|| schema.path_of_variable(&key));
        let typed = format!("--set {key}");
        let Some(path) = path else {
            let variables = schema.fields().flat_map(|(_, field)| field.env).copied();
            let suggestion = nearest(&key, variables).or_else(|| schema.suggest(&key));
            report.add(typed, None, format!("unknown setting{}", did_you_mean(suggestion)));
            continue;
        };
        let raw = Raw { path, value: &Value::from(text), origin: Origin::CommandLine, typed };
        put(&mut layer, raw, schema, report);
    }
    layer
}
