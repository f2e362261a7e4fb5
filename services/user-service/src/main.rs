//! The reference service of Mainstay: users over REST. `user-service help` lists its commands.
//!
//! What a service is made of, in the order in which one reads it: its [components](provide), its
//! [routes](api), its [domain](users)
//! and the [trail](audit) of what happens in it.

mod api;
mod audit;
mod avatar;
#[cfg(test)]
mod ground;
mod housekeeping;
mod purge;
mod schema;
mod settings;
mod users;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use mainstay::cache::Cache;
use mainstay::config::{Config, Environment, Server};
use mainstay::container::{self, Dep};
use mainstay::event::Events;
use mainstay::lifecycle::Step;
use mainstay::lock::Locks;
use mainstay::metrics::Metrics;
use mainstay::openapi::OpenApiRouter;
use mainstay::sql::Database;
use mainstay::{Mainstay, StartError, cli};

use api::Api;
use audit::{Audit, AuditSubscriber, AuditTrail, SqlAuditTrail};
use avatar::Avatars;
use housekeeping::Housekeeping;
use purge::Purge;
use schema::migrations;
use users::{SqlUserRepository, UserRepository, UserService};

fn main() -> ExitCode {
    let (avatars, guard) = avatar::policies();
    let service = Mainstay::builder(env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"))
        .section::<settings::Users>()
        .section::<settings::Avatar>()
        .pipeline(avatar::PIPELINE, &avatars, &guard)
        .database(migrations())
        .provide(provide);
    cli::run(service, api::api, ready)
}

/// The components. Each closure's parameters are what it needs.
fn provide(container: &mut container::Builder) {
    container.provide_dyn(|database: Dep<Database>, events: Dep<Events>| async move {
        let users = SqlUserRepository::new(Database::clone(&database), Events::clone(&events));
        Arc::new(users) as Arc<dyn UserRepository>
    });
    container.provide_dyn(|database: Dep<Database>| async move {
        Arc::new(SqlAuditTrail::new(Database::clone(&database))) as Arc<dyn AuditTrail>
    });
    container.provide(|users: Dep<dyn UserRepository>, cache: Dep<Cache>| async move {
        UserService::new(users.into_arc(), Cache::clone(&cache))
    });
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
        .provide(|users: Dep<UserService>, locks: Dep<Locks>, config: Dep<Config>, metrics: Dep<Metrics>| async move {
            Purge::new(UserService::clone(&users), Locks::clone(&locks), Config::clone(&config), &metrics)
        })
        .on_start(|purge: Dep<Purge>| async move { purge.start() })
        .on_stop(|purge: Dep<Purge>| async move { purge.stop().await });
    container
        .provide(|database: Dep<Database>| async move { Housekeeping::new(database) })
        .on_start(|housekeeping: Dep<Housekeeping>| async move { housekeeping.start() })
        .on_stop(|housekeeping: Dep<Housekeeping>| async move { housekeeping.stop().await });
}

/// Gives the routes what they work with, and holds each client to `RATE_LIMIT_*`.
fn ready(routes: OpenApiRouter<Api>, app: &Mainstay) -> Result<OpenApiRouter, StartError> {
    let container = app.container();
    let api = Api {
        users: UserService::clone(&*container.resolve()?),
        audit: Audit::clone(&*container.resolve()?),
        avatars: Avatars::open(app)?,
        events: app.events().clone(),
        streams: app.event_streams().clone(),
    };
    // Registered last, so it runs first: a write whose client has hung up needs the bus, which stops before the
    // components do.
    let users = api.users.clone();
    app.lifecycle().on(Step::StopComponents, "user writes", Duration::MAX, async move || users.stop().await);
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
