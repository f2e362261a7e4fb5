//! The reference service of Mainstay: users over REST. `user-service help` lists its commands.
//!
//! What a service is made of, in the order in which one reads it: its [components](provide), its
//! [routes](api), its [domain](users)
//! and the [trail](audit) of what happens in it.

mod accounts;
mod api;
mod audit;
mod avatar;
#[cfg(test)]
mod ground;
mod housekeeping;
mod purge;
mod schema;
mod settings;
mod to_its_end;
mod users;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use mainstay::auth::password::Passwords;
use mainstay::auth::revocation::Revocations;
use mainstay::auth::seal::Sealer;
use mainstay::auth::session::Sessions;
use mainstay::auth::token::Issuer;
use mainstay::cache::Cache;
use mainstay::config::{Config, Environment, Server};
use mainstay::container::{self, Dep};
use mainstay::event::Events;
use mainstay::http::Routes;
use mainstay::lifecycle::Step;
use mainstay::lock::Locks;
use mainstay::metrics::Metrics;
use mainstay::sql::Database;
use mainstay::{Mainstay, StartError, cli};

use accounts::{AccountStore, Accounts, FirstAdministrator, Revoker, SqlAccountStore};
use api::Api;
use audit::{Audit, AuditSubscriber, AuditTrail, SqlAuditTrail};
use avatar::Avatars;
use housekeeping::Housekeeping;
use purge::Purge;
use schema::migrations;
use users::{SqlUserRepository, UserRepository, UserService, Vault};

fn main() -> ExitCode {
    let (avatars, guard) = avatar::policies();
    let service = Mainstay::builder(env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"))
        .section::<settings::Users>()
        .section::<settings::Avatar>()
        .section::<settings::Admin>()
        .roles(accounts::roles())
        .sign_in()
        .encryption()
        .pipeline(avatar::PIPELINE, &avatars, &guard)
        .database(migrations())
        .provide(provide);
    cli::run(service, api::api, ready)
}

/// The components. Each closure's parameters are what it needs.
fn provide(container: &mut container::Builder) {
    container.provide(|sealer: Dep<Sealer>| async move { Vault::new(Sealer::clone(&sealer)) });
    container.provide_dyn(|database: Dep<Database>, events: Dep<Events>, vault: Dep<Vault>| async move {
        let users =
            SqlUserRepository::new(Database::clone(&database), Events::clone(&events), Vault::clone(&vault));
        Arc::new(users) as Arc<dyn UserRepository>
    });
    container.provide_dyn(|database: Dep<Database>, events: Dep<Events>, vault: Dep<Vault>| async move {
        let accounts =
            SqlAccountStore::new(Database::clone(&database), Events::clone(&events), Vault::clone(&vault));
        Arc::new(accounts) as Arc<dyn AccountStore>
    });
    container.provide(|sessions: Dep<Sessions>, revocations: Dep<Revocations>| async move {
        Revoker::new(Sessions::clone(&sessions), Revocations::clone(&revocations))
    });
    container.provide_dyn(|database: Dep<Database>| async move {
        Arc::new(SqlAuditTrail::new(Database::clone(&database))) as Arc<dyn AuditTrail>
    });
    container.provide(
        |users: Dep<dyn UserRepository>, cache: Dep<Cache>, vault: Dep<Vault>, revoker: Dep<Revoker>| async move {
            let (cache, vault) = (Cache::clone(&cache), Vault::clone(&vault));
            UserService::new(users.into_arc(), cache, vault, revoker.into_arc())
        },
    );
    container.provide(|trail: Dep<dyn AuditTrail>, users: Dep<dyn UserRepository>| async move {
        Audit::new(trail.into_arc(), users.into_arc())
    });
    container
        .provide(|audit: Dep<Audit>, events: Dep<Events>| async move {
            AuditSubscriber::new(Audit::clone(&audit), Events::clone(&events))
        })
        .on_start(|subscriber: Dep<AuditSubscriber>| async move { subscriber.start().await });
    container
        // The trail listens before the first user is announced.
        .provide(|users: Dep<UserService>, config: Dep<Config>, _trail: Dep<AuditSubscriber>| async move {
            Seeds { users, config }
        })
        .on_start(|seeds: Dep<Seeds>| async move { seeds.sow().await });
    container
        // Who is seeded may be appointed.
        .provide(
            |store: Dep<dyn AccountStore>,
             passwords: Dep<Passwords>,
             config: Dep<Config>,
             _seeds: Dep<Seeds>| async move {
                FirstAdministrator {
                    store: store.into_arc(),
                    passwords: Passwords::clone(&passwords),
                    config: Config::clone(&config),
                }
            },
        )
        .on_start(|first: Dep<FirstAdministrator>| async move { first.appoint().await });
    container
        .provide(|users: Dep<UserService>, locks: Dep<Locks>, config: Dep<Config>, metrics: Dep<Metrics>| async move {
            Purge::new(UserService::clone(&users), Locks::clone(&locks), Config::clone(&config), &metrics)
        })
        .on_start(|purge: Dep<Purge>| async move { purge.start() })
        .on_stop(|purge: Dep<Purge>| async move { purge.stop().await });
    container
        .provide(
            |database: Dep<Database>, users: Dep<dyn UserRepository>, sessions: Dep<Sessions>| async move {
                Housekeeping::new(database, users, sessions)
            },
        )
        .on_start(|housekeeping: Dep<Housekeeping>| async move { housekeeping.start() })
        .on_stop(|housekeeping: Dep<Housekeeping>| async move { housekeeping.stop().await });
}

/// Gives the routes what they work with, and holds each client to `RATE_LIMIT_*`.
fn ready(routes: Routes<Api>, app: &Mainstay) -> Result<Routes, StartError> {
    let container = app.container();
    let users = UserService::clone(&*container.resolve()?);
    let accounts = Accounts::new(accounts::Parts {
        store: container.resolve()?,
        passwords: Passwords::clone(&*container.resolve()?),
        sessions: Sessions::clone(&*container.resolve()?),
        issuer: Issuer::clone(&*container.resolve()?),
        sealer: Sealer::clone(&*container.resolve()?),
        revoker: container.resolve()?,
        users: users.clone(),
        limiter: app.rate_limiter().clone(),
        events: app.events().clone(),
    });
    let api = Api::new(api::Parts {
        accounts: accounts.clone(),
        proxies: app.trusted_proxies(),
        users: users.clone(),
        audit: Audit::clone(&*container.resolve()?),
        avatars: Avatars::open(app)?,
        events: app.events().clone(),
        streams: app.event_streams().clone(),
    });
    // Registered last, so it runs first: a write whose client has hung up needs the bus, which stops before the
    // components do.
    app.lifecycle().on(Step::StopComponents, "user writes", Duration::MAX, async move || users.stop().await);
    app.lifecycle()
        .on(Step::StopComponents, "account work", Duration::MAX, async move || accounts.stop().await);
    Ok(routes.with_state(api).route_layer(app.client_rate_limit()))
}

/// A few users for a developer's first look.
struct Seeds {
    users: Dep<UserService>,
    config: Dep<Config>,
}

impl Seeds {
    async fn sow(&self) -> Result<(), users::Error> {
        if self.config.get::<Server>().env == Environment::Development {
            self.users.seed().await?;
        }
        Ok(())
    }
}
