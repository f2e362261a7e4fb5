//! Sign-in: `[auth]` becomes keys, sessions, passwords and seals, and what they say of a caller.

mod fetch;
mod keys;
mod seal;

use std::sync::Arc;

use mainstay_auth::password::{self, Passwords};
use mainstay_auth::revocation::Revocations;
use mainstay_auth::role::Roles;
use mainstay_auth::seal::{KeyRing, Sealer};
use mainstay_auth::session::{MemorySessions, SessionOptions, SessionStore, Sessions};
use mainstay_auth::token::{
    IssueOptions, Issuer, Jwks, KeyError, KeySource, RemoteKeys, Verifier, VerifyOptions,
};
use mainstay_auth::{Authenticate, Authenticator};
use mainstay_core::breaker::Breakers;
use mainstay_core::config::{self, Config, Environment, Problems};
use mainstay_core::container;
use mainstay_core::metrics::Metrics;
use mainstay_core::task::TaskGroup;
use mainstay_core::time::Clock;
use mainstay_sql::session::SqlSessions;

use super::{Primitives, Storage};
use crate::StartError;
use keys::Source;

/// What the service said of sign-in before it was started.
#[derive(Debug, Default)]
pub(crate) struct SignIn {
    /// What the roles in tokens permit.
    pub(crate) roles: Option<Roles>,
    /// It issues tokens itself.
    pub(crate) issues: bool,
    /// It keeps values sealed.
    pub(crate) seals: bool,
}

/// The keys of the configuration, fit and strong enough.
pub(crate) struct AuthKeys {
    /// `None` where nobody is recognised.
    tokens: Option<Source>,
    /// `None` where nothing is sealed.
    ring: Option<KeyRing>,
}

impl SignIn {
    /// # Errors
    /// Every setting that is missing, unfit or too weak for production.
    pub(crate) fn keys(&self, config: &Config) -> Result<AuthKeys, Problems> {
        let mut problems = Vec::new();
        let mut noted = |problem| problems.push(problem);
        let tokens = keys::source(config, self.issues).map_err(&mut noted);
        let ring = self.seals.then(|| seal::ring(config)).transpose().map_err(&mut noted);
        Problems::found(problems)?;
        Ok(AuthKeys { tokens: tokens.ok().flatten(), ring: ring.ok().flatten() })
    }
}

/// Who calls, and what is kept so that only this service reads it.
pub(crate) struct Auth {
    /// `None` where no key is configured: then nobody is recognised.
    pub(crate) authenticator: Option<Arc<dyn Authenticate>>,
    pub(crate) issuer: Option<Issuer>,
    pub(crate) sealer: Option<Sealer>,
    pub(crate) sessions: Sessions,
    pub(crate) passwords: Passwords,
    pub(crate) revocations: Revocations,
    /// The issuer's keys, where they are published elsewhere.
    remote: Option<RemoteKeys>,
    /// The keys that others check tokens with.
    pub(crate) jwks: Option<Jwks>,
}

impl Auth {
    /// # Errors
    /// [`StartError`] names the setting that does not go with the others.
    pub(crate) fn open(
        roles: Option<Roles>,
        keys: AuthKeys,
        config: &Config,
        metrics: &Metrics,
        primitives: &Primitives,
        breakers: &Breakers,
        storage: Option<&Storage>,
    ) -> Result<Self, StartError> {
        let settings = config.get::<config::Auth>();
        let service = config.get::<config::Identity>().service_name.clone();
        let (issuer, audience) = (
            settings.jwt_issuer.clone().unwrap_or_else(|| service.clone()),
            settings.jwt_audience.clone().unwrap_or_else(|| service.clone()),
        );
        let revocations = Revocations::new(
            Arc::clone(&primitives.kept),
            settings.revocation_outage,
            settings.jwt_expires_in,
            metrics,
            Clock::system(),
        );
        let AuthKeys { tokens: source, ring } = keys;
        let remote = match &source {
            Some(Source::Remote(url)) => Some(fetch::remote(url, config, breakers, metrics)?),
            _ => None,
        };
        let known = match (&source, &remote) {
            (Some(Source::Own(keys)), _) => Some(KeySource::Own(keys.clone())),
            (_, Some(remote)) => Some(KeySource::Remote(remote.clone())),
            _ => None,
        };
        let max_lifetime = settings.jwt_expires_in;
        let rules = VerifyOptions { max_lifetime, ..VerifyOptions::new(&issuer, &audience) };
        let verifier = known
            .map(|keys| Verifier::new(keys, rules, metrics, Clock::system()))
            .transpose()
            .map_err(unfit)?;
        let issuing = match &source {
            Some(Source::Own(keys)) if keys.signer().is_some() => {
                let options = IssueOptions { issuer, audience, lifetime: settings.jwt_expires_in };
                Some(Issuer::new(keys, options, Clock::system()).map_err(unfit)?)
            }
            _ => None,
        };
        let roles = roles.unwrap_or_default();
        let authenticator = verifier.map(|verifier| {
            Arc::new(Authenticator::new(verifier, roles, Some(revocations.clone()))) as Arc<dyn Authenticate>
        });
        let jwks = match &source {
            Some(Source::Own(keys)) => Some(keys.jwks()),
            _ => None,
        };
        Ok(Self {
            authenticator,
            issuer: issuing,
            sealer: ring.map(|ring| Sealer::measured(&ring, metrics)),
            sessions: sessions(&settings, &revocations, storage, metrics),
            passwords: Passwords::measured(password_options(&settings), metrics),
            revocations,
            remote,
            jwks,
        })
    }

    /// Keeps the keys of an issuer elsewhere fresh.
    pub(crate) fn follow(&self, tasks: &TaskGroup) {
        let Some(remote) = self.remote.clone() else { return };
        tasks.spawn_until_cancelled("keys of tokens", async move { remote.keep_fresh().await });
    }

    /// Makes the parts what a constructor can ask for.
    pub(crate) fn provide(&self, bindings: &mut container::Builder) {
        bindings.value(self.sessions.clone());
        bindings.value(self.passwords.clone());
        bindings.value(self.revocations.clone());
        if let Some(issuer) = &self.issuer {
            bindings.value(issuer.clone());
        }
        if let Some(sealer) = &self.sealer {
            bindings.value(sealer.clone());
        }
    }
}

#[expect(clippy::needless_pass_by_value, reason = "handed to map_err")]
fn unfit(error: KeyError) -> StartError {
    StartError::Auth(error.to_string())
}

/// In the database, where there is one; else they end with the process.
fn sessions(
    settings: &config::Auth,
    revocations: &Revocations,
    storage: Option<&Storage>,
    metrics: &Metrics,
) -> Sessions {
    let options = SessionOptions {
        idle: settings.session_idle,
        lifetime: settings.session_lifetime,
        ..SessionOptions::default()
    };
    let store: Arc<dyn SessionStore> = match storage {
        Some(storage) => Arc::new(SqlSessions::new(storage.database.clone())),
        None => Arc::new(MemorySessions::new()),
    };
    Sessions::new(store, options, metrics, Clock::system()).revoking(revocations.clone())
}

fn password_options(settings: &config::Auth) -> password::Options {
    let mut options = password::Options::default();
    options.memory_kib = settings.password_memory;
    options.passes = settings.password_iterations;
    options.concurrent = settings.password_concurrency as usize;
    options
}

/// Development is allowed what production is not.
fn in_production(config: &Config) -> bool {
    config.get::<config::Server>().env == Environment::Production
}
