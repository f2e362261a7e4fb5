//! Following the files while the process runs.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use super::Config;
use super::layer::Layers;
use super::problem::{Problems, Report};
use super::schema::same_value;

/// How often the files are looked at.
const POLL: Duration = Duration::from_secs(1);

/// How the last look at the files ended.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReloadStatus {
    /// When the configuration in force was read.
    pub loaded_at: Timestamp,
    /// What is wrong with the files as they are now; the last good configuration stays in force.
    pub error: Option<String>,
    /// Paths that differ in the files but change only with a restart.
    pub pending_restart: Vec<String>,
}

impl ReloadStatus {
    pub(super) fn fresh() -> Self {
        Self { loaded_at: Timestamp::now(), error: None, pending_restart: Vec::new() }
    }
}

impl Config {
    /// Follows the configuration files, and the files behind `*_FILE` variables, until `token` is
    /// cancelled. They are compared by content once a second, which also sees the swapped links of a
    /// mounted ConfigMap.
    ///
    /// A change is applied like an [`update`](Config::update), below the environment, the command line
    /// and run-time updates. Settings that need a restart are left as they are and named in a warning.
    /// Broken content, and a file that vanished, keep the last good configuration and are logged once;
    /// see [`Config::reload_status`].
    ///
    /// Returns at once if there is no file to follow.
    pub async fn watch_files(self, token: CancellationToken) {
        if self.shared.sources.no_files() {
            return;
        }
        let mut ticks = tokio::time::interval(POLL);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let follow = async {
            loop {
                ticks.tick().await;
                let config = self.clone();
                match tokio::task::spawn_blocking(move || config.poll_files()).await {
                    Ok(outcome) => self.log(outcome),
                    Err(error) => tracing::error!(%error, "looking at the configuration files failed"),
                }
            }
        };
        token.run_until_cancelled(follow).await;
    }

    /// How the last look at the files ended.
    #[must_use]
    pub fn reload_status(&self) -> ReloadStatus {
        ReloadStatus::clone(&self.shared.reload_status.load())
    }

    /// Reads the files and applies them if their content is new; then returns the paths that wait for
    /// a restart.
    fn poll_files(&self) -> Result<Option<Vec<String>>, Problems> {
        let reading = self.shared.sources.read();
        let mut state = self.state();
        let fingerprint = reading.fingerprint();
        if fingerprint == state.fingerprint {
            return Ok(None);
        }
        state.fingerprint = fingerprint;

        let (schema, sources, mut report) = (&self.shared.schema, &self.shared.sources, Report::default());
        let mut layers = state.layers.clone();
        layers.files = sources.files_layer(schema, &reading, &state.present, &mut report);
        layers.env = sources.variables.layer(schema, &reading, &mut report);
        let pending_restart = self.keep_restart_only(&mut layers, &state.layers);
        if let Err(problems) = self.apply(&mut state, layers, report) {
            self.set_status(ReloadStatus { error: Some(problems.to_string()), ..self.reload_status() });
            return Err(problems);
        }
        state.present = reading.present();
        self.set_status(ReloadStatus { pending_restart: pending_restart.clone(), ..ReloadStatus::fresh() });
        Ok(Some(pending_restart))
    }

    /// Tells of new content, once.
    fn log(&self, outcome: Result<Option<Vec<String>>, Problems>) {
        match outcome {
            Ok(None) => {}
            Ok(Some(pending)) => {
                tracing::info!(version = self.version(), "configuration files reloaded");
                if !pending.is_empty() {
                    let settings = pending.join(", ");
                    tracing::warn!(settings, "changed in a file, but takes effect only after a restart");
                }
            }
            Err(problems) => {
                tracing::error!(%problems, "configuration files refused; the last good configuration stays in force");
            }
        }
    }

    fn set_status(&self, status: ReloadStatus) {
        self.shared.reload_status.store(Arc::new(status));
    }

    /// Puts back what only a restart may change, and names it.
    fn keep_restart_only(&self, layers: &mut Layers, old: &Layers) -> Vec<String> {
        let (merged, before) = (layers.merged(), old.merged());
        let fields = self.shared.schema.fields().filter(|(_, field)| field.restart);
        let pending = fields.map(|(path, _)| path).filter(|path| !same_value(path, &merged, &before));
        let pending: Vec<String> = pending.map(str::to_owned).collect();
        for path in &pending {
            for (layer, old) in [(&mut layers.files, &old.files), (&mut layers.env, &old.env)] {
                match old.get(path) {
                    Some(setting) => layer.insert(path.clone(), Arc::clone(setting)),
                    None => layer.remove(path),
                };
            }
        }
        pending
    }
}

/// What changes while the process runs, behind one lock so that changes are applied one by one.
pub(super) struct State {
    pub(super) layers: Layers,
    /// Of the files' content when it was last looked at.
    pub(super) fingerprint: u64,
    /// Files that existed when the configuration was last read well.
    pub(super) present: BTreeSet<PathBuf>,
}
