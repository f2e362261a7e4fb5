//! Configuration: typed sections, layered sources, changes at run time.
//!
//! # Promise
//! - Everything has a default; a service runs with nothing set.
//! - The highest layer wins: defaults < `mainstay.toml` < `mainstay.<env>.toml` < environment <
//!   command line < run-time update. Each value knows its [`Origin`].
//! - All [`Problems`] are found at once, each under the name that was typed. Unknown keys in files are
//!   refused, with a suggestion for a near miss. Secrets are printed nowhere.
//! - A reader sees one complete, valid configuration: never a mix of two, never one that
//!   [`Section::validate`] refuses. [`Config::update`] and a changed file are applied as a whole or
//!   not at all.
//! - A watcher is woken exactly when a value of its section changed.
//! - A broken file keeps the last good configuration and says so ([`Config::reload_status`]).
//!
//! # Not promised
//! - Changes are not written back to files and do not outlive the process.
//! - The environment is read once. Only files, those behind `*_FILE` variables included, are followed,
//!   and only while [`Config::watch_files`] runs.
//! - An environment file chosen at start stays chosen: `server.env` needs a restart.
//!
//! # How values are read
//! Text is trimmed, except secrets; empty counts as unset in every layer. A duration without a unit is
//! in milliseconds ([`parse_duration`]); a list in a variable is separated by commas. `X_FILE` reads
//! the value of `X` from that file, without the last line break; setting both is a problem.
//!
//! `MAINSTAY_CONFIG` is a directory (default: the working directory) in which both files are optional,
//! or a file `name.toml`, which must exist and may have a `name.<env>.toml` beside it. Files must be
//! regular files of at most 1 MiB.
//!
//! # Defaults
//! See [`Config::reference`].
//!
//! # Metrics
//! None; [`Config::version`] and [`Config::reload_status`] say what a gauge would.

mod builder;
mod duration;
mod entry;
mod field;
mod file;
mod layer;
mod problem;
mod reference;
mod reload;
mod schema;
mod section;
mod sections;
mod sources;
mod suggest;
mod watch;

use std::any::type_name;
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;
use serde_json::Value;

pub use builder::Builder;
pub use duration::{millis, parse_duration};
pub use entry::Entry;
pub use field::{Field, Kind};
pub use layer::Origin;
pub use problem::{Error, Problem, Problems};
pub use reload::ReloadStatus;
pub use section::{Checks, Section, disagreements};
pub use sections::{
    Auth, Breaker, BreakerMode, Cache, CacheCodec, CacheDegrade, Concurrency, Database, Dialect, Environment,
    Events, Health, Identity, JwtAlgorithm, Lock, Log, Metrics, Pipeline, RateLimit, RateLimitOutage, Redis,
    RevocationOutage, Server,
};
pub use watch::Watch;

use layer::{Layers, Raw, put};
use problem::{Report, one_line};
use reload::State;
use schema::{Schema, Tree};
use section::{Erased, SectionId, id_of, id_of_named};
use sources::{Reading, Sources};

/// The configuration in force. Cheap to clone; all clones are the same one.
///
/// ```
/// use mainstay_core::config::{Config, RateLimit};
///
/// let config = Config::builder()
///     .no_files()
///     .env_vars([("PORT", "8080"), ("RATE_LIMIT_MAX_REQUESTS", "10")])
///     .load()?;
/// assert_eq!(config.value("server.port"), Some(8080.into()));
///
/// config.update("rate_limit.max_requests", 200)?;
/// assert_eq!(config.get::<RateLimit>().max_requests, 200);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Config {
    shared: Arc<Shared>,
}

struct Shared {
    schema: Schema,
    sources: Sources,
    current: ArcSwap<Tree>,
    state: Mutex<State>,
    watchers: HashMap<SectionId, tokio::sync::watch::Sender<Erased>>,
    reload_status: ArcSwap<ReloadStatus>,
}

impl Config {
    /// Starts with the built-in sections, the variables of the process and the files of the working
    /// directory.
    #[must_use]
    pub fn builder() -> Builder {
        Builder::new()
    }

    /// The defaults with `overrides` (path or variable, and text), apart from files and environment.
    ///
    /// # Panics
    /// If an override is not valid; for tests and examples only.
    #[must_use]
    pub fn for_tests<'a>(overrides: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let owned = overrides.into_iter().map(|(key, text)| (key.to_owned(), text.to_owned()));
        let none: [(&str, &str); 0] = [];
        let loaded = Self::builder().no_files().env_vars(none).overrides(owned).load();
        loaded.unwrap_or_else(|problems| panic!("{problems}"))
    }

    /// The table of all built-in settings in Markdown. [`Builder::reference`] adds a service's own.
    #[must_use]
    pub fn reference() -> String {
        Self::builder().reference()
    }

    fn new(schema: Schema, sources: Sources, layers: Layers, tree: Tree, reading: &Reading) -> Self {
        let state = State { layers, fingerprint: reading.fingerprint(), present: reading.present() };
        let sender = |def: &section::SectionDef| {
            let section = tree.sections.get(&def.id)?;
            Some((def.id.clone(), tokio::sync::watch::Sender::new(Arc::clone(section))))
        };
        let watchers = schema.sections.iter().filter_map(sender).collect();
        Self {
            shared: Arc::new(Shared {
                watchers,
                schema,
                sources,
                current: ArcSwap::from_pointee(tree),
                state: Mutex::new(state),
                reload_status: ArcSwap::from_pointee(ReloadStatus::fresh()),
            }),
        }
    }

    /// The section as it is now.
    ///
    /// # Panics
    /// If `S` is not part of this configuration: it was not given to [`Builder::section`].
    #[must_use]
    pub fn get<S: Section>(&self) -> Arc<S> {
        self.snapshot().get()
    }

    /// One of several sections of a type as it is now; see [`Builder::named_section`].
    ///
    /// # Panics
    /// If there is none of this name.
    #[must_use]
    pub fn get_named<S: Section>(&self, name: &str) -> Arc<S> {
        self.watch_named(name).current()
    }

    /// All sections as they are now, for code that needs several that fit together.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        Snapshot { tree: self.shared.current.load_full() }
    }

    /// How many times a value has changed since the start.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.shared.current.load().version
    }

    /// Follows a section.
    ///
    /// # Panics
    /// If `S` is not part of this configuration, as [`Config::get`].
    #[must_use]
    pub fn watch<S: Section>(&self) -> Watch<S> {
        self.watch_id(&id_of::<S>())
    }

    /// Follows one of several sections of a type; see [`Builder::named_section`].
    ///
    /// # Panics
    /// If there is none of this name.
    #[must_use]
    pub fn watch_named<S: Section>(&self, name: &str) -> Watch<S> {
        self.watch_id(&id_of_named::<S>(name))
    }

    fn watch_id<S: Section>(&self, id: &SectionId) -> Watch<S> {
        let sender = self.shared.watchers.get(id);
        Watch::new(sender.unwrap_or_else(|| not_registered::<S>()).subscribe())
    }

    /// Changes one setting; see [`Config::update_all`].
    ///
    /// # Errors
    /// As [`Config::update_all`].
    pub fn update(&self, path: &str, value: impl Into<Value>) -> Result<(), Error> {
        self.update_all([(path, value.into())])
    }

    /// Changes several settings as one: all of them or, on an error, none. No reader sees a part.
    ///
    /// A value may be text as in a variable. `null` or empty text takes back an earlier update, so that
    /// the layers below count again.
    ///
    /// ```
    /// use mainstay_core::config::{Config, Error};
    ///
    /// let config = Config::for_tests([]);
    /// config.update_all([("rate_limit.window", "1m".into()), ("rate_limit.max_requests", 30.into())])?;
    /// assert!(matches!(config.update("redis.host", "cache"), Err(Error::NeedsRestart { .. })));
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Unknown`] for a path that does not exist, [`Error::Invalid`] with all problems if a
    /// value does not fit or the whole would not be valid, [`Error::NeedsRestart`] with all paths that a
    /// running process cannot change.
    pub fn update_all<'a>(&self, updates: impl IntoIterator<Item = (&'a str, Value)>) -> Result<(), Error> {
        let schema = &self.shared.schema;
        let mut report = Report::default();
        let mut restart = Vec::new();
        // Before the lock: the caller's iterator may itself use this configuration.
        let updates: Vec<_> = updates.into_iter().collect();
        let mut state = self.state();
        let mut layers = state.layers.clone();
        for (path, value) in updates {
            let Some(field) = schema.field(path) else {
                let suggestion = schema.suggest(path).map(str::to_owned);
                return Err(Error::Unknown { path: one_line(path, 80), suggestion });
            };
            // Even for the value in force: an answer that depends on it would let one guess a secret.
            if field.restart {
                restart.push(path.to_owned());
            }
            layers.updates.remove(path);
            let raw = Raw { path, value: &value, origin: Origin::Update, typed: path.to_owned() };
            put(&mut layers.updates, raw, schema, &mut report);
        }
        if !restart.is_empty() {
            return Err(Error::NeedsRestart { paths: restart });
        }
        Ok(self.apply(&mut state, layers, report)?)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts `layers` into force if they are valid as a whole, and tells the watchers. The caller holds
    /// the lock, so that watchers see changes in the order of the versions.
    fn apply(&self, state: &mut State, layers: Layers, report: Report) -> Result<(), Problems> {
        let Shared { schema, current, watchers, .. } = &*self.shared;
        let before = current.load_full();
        let tree = Arc::new(schema.assemble(layers.merged(), Some(&before), report)?);
        state.layers = layers;
        current.store(Arc::clone(&tree));
        for def in &schema.sections {
            let (Some(old), Some(new)) = (before.sections.get(&def.id), tree.sections.get(&def.id)) else {
                continue;
            };
            if !Arc::ptr_eq(old, new)
                && let Some(watcher) = watchers.get(&def.id)
            {
                watcher.send_replace(Arc::clone(new));
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config").field("version", &self.version()).finish_non_exhaustive()
    }
}

/// All sections of one version of the configuration.
#[derive(Clone)]
pub struct Snapshot {
    tree: Arc<Tree>,
}

impl Snapshot {
    /// The section in this version.
    ///
    /// # Panics
    /// As [`Config::get`].
    #[must_use]
    pub fn get<S: Section>(&self) -> Arc<S> {
        let section = self.tree.sections.get(&id_of::<S>());
        watch::typed(Arc::clone(section.unwrap_or_else(|| not_registered::<S>())))
    }

    /// Number of this version, see [`Config::version`].
    #[must_use]
    pub fn version(&self) -> u64 {
        self.tree.version
    }
}

/// The caller's mistake, not the input's: `S` is written in the program.
fn not_registered<S: Section>() -> ! {
    panic!(
        "{} is not a section of this configuration; add it with Config::builder().section",
        type_name::<S>()
    )
}
