use std::fmt;
use std::sync::Arc;

use mainstay_auth::role::Roles;
use mainstay_core::breaker;
use mainstay_core::config::{self, Config, Section};
use mainstay_core::container;
use mainstay_core::health::Health;
use mainstay_core::metrics::Metrics;
use mainstay_core::pipeline;
use mainstay_core::task::TaskGroup;
use mainstay_sql::{Applied, MigrationStatus, Migrations};

use crate::app::Parts;
use crate::wiring::{Auth, Declared, Lent, Primitives, Resilience, SignIn, Storage, Traces};
use crate::{Mainstay, StartError, wiring};

type Provide = Box<dyn FnOnce(&mut container::Builder) + Send>;

/// Describes an app before it starts: its sections, its database, its components.
///
/// Nothing is opened until [`Builder::start`].
pub struct Builder {
    name: &'static str,
    version: &'static str,
    config: config::Builder,
    migrations: Option<Migrations>,
    declared: Declared,
    sign_in: SignIn,
    provide: Vec<Provide>,
}

impl Builder {
    pub(crate) fn new(name: &'static str, version: &'static str) -> Self {
        let config = wiring::section(Config::builder()).default_value("identity.service_name", name);
        Self {
            name,
            version,
            config,
            migrations: None,
            declared: Declared::default(),
            sign_in: SignIn::default(),
            provide: Vec::new(),
        }
    }

    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    pub(crate) fn version(&self) -> &'static str {
        self.version
    }

    /// Adds a configuration section of the service's own.
    #[must_use]
    pub fn section<S: Section>(mut self) -> Self {
        self.config = self.config.section::<S>();
        self
    }

    /// Values from the command line, by path or variable name. They win over files and environment.
    #[must_use]
    pub fn overrides(mut self, values: impl IntoIterator<Item = (String, String)>) -> Self {
        self.config = self.config.overrides(values);
        self
    }

    /// Replaces the way configuration is found: other files, a given environment, none at all.
    #[must_use]
    pub fn configure(mut self, change: impl FnOnce(config::Builder) -> config::Builder) -> Self {
        self.config = change(self.config);
        self
    }

    /// The service keeps data: open the database and bring it to this state at start. It carries the service's events
    /// as well, in tables of Mainstay's own: versions from 1,000,000,001 on are not the service's to use.
    #[must_use]
    pub fn database(mut self, migrations: Migrations) -> Self {
        self.migrations = Some(migrations.with_events().with_sessions());
        self
    }

    /// What the roles that tokens say permit. Without it they permit nothing, and only routes that ask for a caller
    /// and nothing else let one pass.
    ///
    /// Callers are recognised by tokens of the keys that `JWT_*` configures.
    #[must_use]
    pub fn roles(mut self, roles: Roles) -> Self {
        self.sign_in.roles = Some(roles);
        self
    }

    /// The service issues tokens itself: its constructors can ask for an `Issuer`. In production it then refuses to
    /// start without `JWT_SECRET` or `JWT_PRIVATE_KEY`; elsewhere a key is made for the process.
    #[must_use]
    pub fn sign_in(mut self) -> Self {
        self.sign_in.issues = true;
        self
    }

    /// The service keeps values sealed: its constructors can ask for a `Sealer`. In production it then refuses to start
    /// without `ENCRYPTION_KEY` or `ENCRYPTION_KEYS`; elsewhere a key that everybody knows is used.
    #[must_use]
    pub fn encryption(mut self) -> Self {
        self.sign_in.seals = true;
        self
    }

    /// Declares a circuit breaker, with this policy unless `[breakers.<name>]` or `BREAKER_<NAME>_*` say otherwise:
    /// these may change while the service runs. A breaker that is not declared has the default policy and no settings.
    ///
    /// The name is 1 to 64 of `[a-z0-9._-]`; a policy or name that cannot be right is a problem of the configuration.
    #[must_use]
    pub fn breaker(mut self, name: &'static str, policy: &breaker::Policy) -> Self {
        self.config = self.declared.breaker(self.config, name, policy);
        self
    }

    /// Declares how calls to one dependency are made: a [`Pipeline`](pipeline::Pipeline) with these policies, unless
    /// `[pipelines.<name>]`, `[breakers.<name>]` or their variables (`PIPELINE_<NAME>_*`, `BREAKER_<NAME>_*`) say
    /// otherwise: these may change while the service runs.
    ///
    /// Names and policies are as for [`Builder::breaker`], which this includes. What there is no setting for, such as the
    /// budget's burst, stays as it is written here.
    ///
    /// # Panics
    /// Not here but when the app starts, if such a part of the policy cannot be right.
    #[must_use]
    pub fn pipeline(self, name: &'static str, policy: &pipeline::Policy, guard: &breaker::Policy) -> Self {
        let mut this = self.breaker(name, guard);
        this.config = this.declared.pipeline(this.config, name, policy);
        this
    }

    /// Adds the service's constructors to the container. `Config`, `Metrics`, `Health`, `Cache`, `Locks`,
    /// `RateLimiter`, `Events`, `EventStreams`, `Breakers`, `Sessions`, `Passwords`, `Revocations` and (with
    /// [`Builder::database`]) `Database` are there already, and what [`Builder::sign_in`] and [`Builder::encryption`] say. Tests put their doubles in with
    /// [`override_with`](container::Builder::override_with) in a later call.
    #[must_use]
    pub fn provide(mut self, bindings: impl FnOnce(&mut container::Builder) + Send + 'static) -> Self {
        self.provide.push(Box::new(bindings));
        self
    }

    pub(crate) fn load_config(self) -> Result<Config, config::Problems> {
        self.config.load()
    }

    /// What would keep the service from starting, as far as its settings tell.
    pub(crate) fn check_config(self) -> Result<(), config::Problems> {
        self.sign_in.keys(&self.config.load()?).map(|_| ())
    }

    /// `None` where the service has no database.
    pub(crate) async fn migrate(self) -> Result<Option<Applied>, StartError> {
        let config = self.config.load()?;
        let Some(migrations) = self.migrations else { return Ok(None) };
        let Storage { database, .. } = wiring::open(&config, &Metrics::new()).await?;
        let applied = database.migrate(&migrations).await;
        database.close().await;
        Ok(Some(applied?))
    }

    /// Where each migration stands; changes nothing. `None` where the service has no database.
    pub(crate) async fn migration_status(self) -> Result<Option<Vec<MigrationStatus>>, StartError> {
        let config = self.config.load()?;
        let Some(migrations) = self.migrations else { return Ok(None) };
        let Storage { database, .. } = wiring::open(&config, &Metrics::new()).await?;
        let status = database.migration_status(&migrations).await;
        database.close().await;
        Ok(Some(status?))
    }

    /// The events of the service, as they lie in their store.
    pub(crate) async fn events(self) -> Result<Lent, Box<dyn std::error::Error + Send + Sync>> {
        Lent::open(&self.config.load()?, self.migrations.is_some()).await
    }

    /// Loads the configuration, opens what the service uses, builds its components and starts the
    /// background work. Requests are served by [`Mainstay::serve`].
    ///
    /// # Errors
    /// [`StartError`] says what to mend. What was opened by then is closed again.
    pub async fn start(self) -> Result<Mainstay, StartError> {
        let config = self.config.load()?;
        let metrics = wiring::metrics();
        let traces = Traces::start(&config, self.version, &metrics)?;
        let telemetry = wiring::start_telemetry(&config, traces.as_ref())?;
        // Before anything is opened, least of all changed.
        let keys = self.sign_in.keys(&config)?;
        let storage = match &self.migrations {
            Some(migrations) => Some(wiring::open_migrated(&config, &metrics, migrations).await?),
            None => None,
        };
        let health_settings = config.get::<config::Health>();
        let health = Health::new(wiring::options(&health_settings), wiring::identity(&config, self.version));
        let resilience = Resilience::new(self.declared, &config, &metrics);
        let redis = wiring::open_redis(&config, &metrics).await?;
        let primitives = Primitives::new(&config, &metrics, storage.as_ref(), redis.as_ref());
        let auth = Auth::open(
            self.sign_in.roles,
            keys,
            &config,
            &metrics,
            &primitives,
            &resilience.breakers,
            storage.as_ref(),
        )?;
        wiring::register_checks(&health, storage.as_ref(), redis.as_ref())?;
        primitives.bus.register_check(&health, &config)?;
        wiring::export_health(&metrics, &health);

        let mut bindings = container::Container::builder();
        bindings.value(config.clone());
        bindings.value(metrics.clone());
        bindings.value(health.clone());
        bindings.value(resilience.breakers.clone());
        primitives.provide(&mut bindings);
        auth.provide(&mut bindings);
        if let Some(storage) = &storage {
            bindings.value(storage.database.clone());
        }
        for provide in self.provide {
            provide(&mut bindings);
        }
        let container = bindings.build().await?;

        let tasks = TaskGroup::new();
        let traces = traces.filter(|_| telemetry.is_some());
        wiring::follow_settings(&tasks, &config, telemetry, &health, &metrics);
        primitives.follow(&tasks, &config);
        resilience.follow(&tasks, &config);
        auth.follow(&tasks);
        let probes = health_settings.enabled.then(|| health.start(&tasks.token()));
        let lifecycle = wiring::lifecycle(&config);
        wiring::stop_components(
            &lifecycle,
            &config,
            storage.as_ref(),
            tasks,
            probes,
            &primitives,
            &container,
        );
        if let Some(traces) = traces {
            traces.flush_at_the_end(&lifecycle);
        }
        let info = wiring::info(&config, self.version, storage.is_some(), redis.as_ref(), &primitives.bus);
        Ok(Mainstay(Arc::new(Parts {
            config,
            metrics,
            health,
            container,
            lifecycle,
            storage,
            primitives,
            resilience,
            auth,
            info,
        })))
    }
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder").field("name", &self.name).finish_non_exhaustive()
    }
}
