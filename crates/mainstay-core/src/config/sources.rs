//! Files and environment variables: what is read, and how it becomes layers.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde_json::Value;
use zeroize::Zeroize;

use super::file;
use super::layer::{Layer, Origin, Raw, put};
use super::problem::Report;
use super::schema::Schema;
use super::sections::Environment;

/// Largest file that is read; a configuration or a mounted secret is far smaller.
const MAX_BYTES: u64 = 1024 * 1024;

/// The variable that says where the files are.
const CONFIG_PATH: &str = "MAINSTAY_CONFIG";

/// The variables a configuration may come from, as they were when the process started.
#[derive(Default)]
pub(super) struct Variables(BTreeMap<String, String>);

impl Variables {
    /// Keeps what the schema knows. Empty ones count as unset; one that is not UTF-8 is reported.
    pub(super) fn new(
        all: impl IntoIterator<Item = (OsString, OsString)>,
        schema: &Schema,
        report: &mut Report,
    ) -> Self {
        let names = schema.fields().flat_map(|(_, field)| field.env);
        let known: BTreeSet<String> = names
            .flat_map(|name| [(*name).to_owned(), format!("{name}_FILE")])
            .chain([CONFIG_PATH.to_owned()])
            .collect();
        let mut kept = BTreeMap::new();
        for (name, value) in all {
            let Some(name) = name.to_str().filter(|name| known.contains(*name)) else { continue };
            match value.into_string() {
                Ok(value) if value.is_empty() => {}
                Ok(value) => {
                    kept.insert(name.to_owned(), value);
                }
                Err(_) => {
                    if let Some(path) = schema.path_of_variable(name) {
                        report.mark_broken(path);
                    }
                    report.add(name, None, "expected text in UTF-8");
                }
            }
        }
        Self(kept)
    }

    /// Where the variable says that the files are.
    pub(super) fn config_path(&self) -> Option<(&'static str, PathBuf)> {
        self.0.get(CONFIG_PATH).map(|path| (CONFIG_PATH, path.into()))
    }

    /// The files that `*_FILE` variables name.
    fn files(&self, schema: &Schema) -> BTreeSet<PathBuf> {
        let names = schema.fields().flat_map(|(_, field)| field.env).map(|name| format!("{name}_FILE"));
        names.filter_map(|name| self.0.get(&name)).map(PathBuf::from).collect()
    }

    /// The layer of the environment. Values behind `*_FILE` variables come from `reading`.
    pub(super) fn layer(&self, schema: &Schema, reading: &Reading, report: &mut Report) -> Layer {
        let mut layer = Layer::new();
        for (path, field) in schema.fields() {
            for name in field.env {
                let from_file = format!("{name}_FILE");
                let (typed, text) = match (self.0.get(*name), self.0.get(&from_file)) {
                    (None, None) => continue,
                    (Some(_), Some(_)) => {
                        report.mark_broken(path);
                        report.add(*name, None, format!("is set together with {from_file}; set one of them"));
                        break;
                    }
                    (Some(text), None) => ((*name).to_owned(), text.as_str()),
                    (None, Some(file)) => match reading.get(Path::new(file)) {
                        Ok(text) => (
                            from_file,
                            text.strip_suffix('\n').map_or(text, |t| t.strip_suffix('\r').unwrap_or(t)),
                        ),
                        Err(why) => {
                            report.mark_broken(path);
                            report.add(
                                from_file,
                                Some(file.clone()),
                                format!("expected a readable file: {why}"),
                            );
                            break;
                        }
                    },
                };
                let mut value = Value::from(text);
                let origin = Origin::Env(typed.clone());
                put(&mut layer, Raw { path, value: &value, origin, typed }, schema, report);
                if let Value::String(copy) = &mut value {
                    copy.zeroize();
                }
                break;
            }
        }
        layer
    }
}

/// Where this configuration comes from, fixed when it is loaded.
#[derive(Default)]
pub(super) struct Sources {
    pub(super) variables: Variables,
    /// `mainstay.toml` or its stand-in.
    base: Option<PathBuf>,
    /// Whether someone asked for the base file by name.
    base_required: bool,
    /// `mainstay.<env>.toml`, once the environment is known.
    for_environment: Option<PathBuf>,
    secret_files: BTreeSet<PathBuf>,
}

impl Sources {
    /// Files in the directory or around the file `at`, under the name of who said so; with `None` in the
    /// working directory.
    pub(super) fn new(
        variables: Variables,
        at: Option<(&str, PathBuf)>,
        files: bool,
        schema: &Schema,
        report: &mut Report,
    ) -> Self {
        let secret_files = variables.files(schema);
        let mut sources = Self { variables, secret_files, ..Self::default() };
        if !files {
            return sources;
        }
        sources.base = Some(match at {
            None => PathBuf::from("mainstay.toml"),
            Some((_, path)) if path.is_dir() => path.join("mainstay.toml"),
            Some((name, path)) => {
                sources.base_required = true;
                if path.extension().is_none_or(|extension| extension != "toml") {
                    let shown = Some(path.display().to_string());
                    report.add(name, shown, "expected an existing directory or a .toml file");
                    return sources;
                }
                path
            }
        });
        sources
    }

    /// Chooses the second file: `mainstay.production.toml` beside `mainstay.toml`.
    pub(super) fn set_environment(&mut self, environment: Environment) {
        self.for_environment =
            self.base.as_ref().map(|base| base.with_extension(format!("{}.toml", environment.as_str())));
    }

    /// Whether there is nothing to follow.
    pub(super) fn no_files(&self) -> bool {
        self.base.is_none() && self.secret_files.is_empty()
    }

    /// Reads every file there is, from the disk: not for the runtime's own threads.
    pub(super) fn read(&self) -> Reading {
        let files = self.secret_files.iter().chain(&self.base).chain(&self.for_environment);
        Reading(files.map(|path| (path.clone(), read_text(path))).collect())
    }

    /// The layer of the files. One of `expected` that is missing is a problem, as is the base file if
    /// someone asked for it.
    pub(super) fn files_layer(
        &self,
        schema: &Schema,
        reading: &Reading,
        expected: &BTreeSet<PathBuf>,
        report: &mut Report,
    ) -> Layer {
        let mut layer = Layer::new();
        for path in self.base.iter().chain(&self.for_environment) {
            let required =
                (self.base_required && Some(path) == self.base.as_ref()) || expected.contains(path);
            let name = path.display().to_string();
            match reading.get(path) {
                Ok(text) => {
                    let chooses_itself = Some(path) == self.for_environment.as_ref();
                    file::parse(&mut layer, &name, text, chooses_itself, schema, report);
                }
                Err(Unreadable::Missing) if !required => {}
                Err(why) => report.add(name, None, format!("cannot be read: {why}")),
            }
        }
        layer
    }
}

/// Why a file could not be read.
#[derive(Debug, Clone, PartialEq, Eq, Hash, thiserror::Error)]
pub(super) enum Unreadable {
    #[error("there is no such file")]
    Missing,
    #[error("{0}")]
    Other(String),
}

/// The texts of all files at one moment.
#[derive(Hash, Default)]
pub(super) struct Reading(BTreeMap<PathBuf, Result<String, Unreadable>>);

impl Reading {
    fn get(&self, path: &Path) -> Result<&str, Unreadable> {
        match self.0.get(path) {
            Some(Ok(text)) => Ok(text),
            Some(Err(why)) => Err(why.clone()),
            None => Err(Unreadable::Missing),
        }
    }

    /// Equal for equal content.
    pub(super) fn fingerprint(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.hash(&mut hasher);
        hasher.finish()
    }

    /// The files that exist.
    pub(super) fn present(&self) -> BTreeSet<PathBuf> {
        self.0.iter().filter(|(_, text)| text.is_ok()).map(|(path, _)| path.clone()).collect()
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        self.0.values_mut().flatten().for_each(Zeroize::zeroize);
    }
}

fn read_text(path: &Path) -> Result<String, Unreadable> {
    let unreadable = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => Unreadable::Missing,
        _ => Unreadable::Other(error.to_string()),
    };
    // A pipe or a device could block for ever and cannot be read twice.
    if !std::fs::metadata(path).map_err(unreadable)?.is_file() {
        return Err(Unreadable::Other("it is not a regular file".to_owned()));
    }
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(unreadable)?;
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(Unreadable::Other("it is larger than 1 MiB".to_owned()));
    }
    String::from_utf8(bytes).map_err(|error| {
        error.into_bytes().zeroize();
        Unreadable::Other("it is not text in UTF-8".to_owned())
    })
}
