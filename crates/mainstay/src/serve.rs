use std::convert::Infallible;
use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use futures_util::StreamExt;
use futures_util::future::join_all;
use futures_util::stream::FuturesUnordered;
use http::Method;
use mainstay_core::config::{self, Watch};
use mainstay_core::lifecycle::{Step, signals};
use mainstay_core::task::{TaskGroup, panic_message};
use mainstay_http::access::Access;
use mainstay_http::endpoint::{self, Distributed, Exposure};
use mainstay_http::{BindError, Host, Listening, RouteEntry, Routes, Rule, Tls, Unfinished};
use utoipa::openapi::{InfoBuilder, OpenApi, OpenApiBuilder};
use utoipa_axum::router::OpenApiRouter;

use crate::{Mainstay, ServeError, wiring};

impl Mainstay {
    /// Serves `routes` together with the `/distributed/*` endpoints until SIGTERM, SIGINT or
    /// [`Lifecycle::request_shutdown`](mainstay_core::lifecycle::Lifecycle::request_shutdown), then
    /// stops in order: not ready, drain delay, stop accepting, finish requests, stop components, flush.
    /// A second signal stops at once.
    ///
    /// # Errors
    /// [`ServeError::PathTaken`] and [`ServeError::Routes`] when two routes clash, [`ServeError::Bind`] when
    /// the address cannot be opened, [`ServeError::Tls`] when the certificate cannot be used, [`ServeError::Start`] when a component does not start,
    /// [`ServeError::Signals`] when signals cannot be caught, [`ServeError::Unclean`] when something had to be
    /// cut off at the end.
    pub async fn serve(&self, routes: Routes) -> Result<(), ServeError> {
        let parts = &self.0;
        let host = Host::new(&parts.metrics, wiring::limits(&parts.config));
        let landing = landing(&routes);
        let routes = self.routes(&host, routes)?;
        let main =
            Site { host: Arc::clone(&host), routes, tls: wiring::tls(&parts.config, &parts.metrics).await? };
        parts.container.start().await?;

        // Owned here, so that dropping this future ends them.
        let (listeners, tasks) = (CloseOnDrop::default(), TaskGroup::new());
        let listeners = &listeners.0;
        // Watched from before it is used, so that no change is missed.
        let changes = parts.config.watch::<config::Server>();
        let addr = wiring::address(&changes.current());
        let opened = async {
            self.open(&main, addr, listeners).await?;
            Ok::<_, ServeError>(signals(&parts.lifecycle)?)
        };
        match opened.await {
            Ok(signals) => tasks.spawn("signals", signals),
            Err(error) => {
                parts.container.stop().await;
                return Err(error);
            }
        }
        wiring::follow_limits(&tasks, &parts.config, &host);
        let watched = Arc::clone(&host);
        tasks.spawn_until_cancelled("server queue", async move { match watched.watch_queue().await {} });
        if let Some(tls) = main.tls.clone() {
            tasks.spawn_until_cancelled("TLS certificate", async move { match tls.watch().await {} });
        }
        let mover = TaskGroup::child_of(&tasks.token());
        let moves = follow(changes, addr, main, listeners.clone());
        mover.spawn_until_cancelled("listener", moves);
        self.stop_with(&host, listeners, mover);
        parts.health.set_started(true);
        parts.lifecycle.running();
        wiring::banner(parts, &listeners.addrs(), landing.as_deref());

        parts.lifecycle.shutdown_requested().await;
        let report = parts.lifecycle.run_shutdown().await;
        if report.is_clean() { Ok(()) } else { Err(ServeError::Unclean) }
    }

    /// The service's routes, the endpoints and the API description, in the standard layers.
    fn routes(&self, host: &Arc<Host>, routes: Routes) -> Result<Router, ServeError> {
        let parts = &self.0;
        let (access, exposure) = wiring::exposure(&parts.config, parts.auth.authenticator.as_ref());
        // Two routes of one path would panic when they are merged.
        let taken = &routes.description().paths.paths;
        for path in [&exposure.health, &exposure.metrics].into_iter().flatten() {
            if taken.contains_key(path) || ["/openapi.json", "/docs"].contains(&path.as_str()) {
                return Err(ServeError::PathTaken { path: path.clone() });
            }
        }
        host.watched_at([&exposure.health, &exposure.metrics].into_iter().flatten().cloned());
        let endpoints = endpoint::api(access.clone(), &exposure).with_state(self.endpoints(access));
        let described = described(&parts.info.service, &parts.info.version);
        let routes = routes.into_router(parts.auth.authenticator.as_ref());
        // Routes that are not in the description cannot be asked for their paths.
        let merged = std::panic::catch_unwind(AssertUnwindSafe(|| {
            let (router, document) = described.merge(endpoints).merge(routes).split_for_parts();
            let router = router.merge(endpoint::api_docs(&document));
            // A secret is nothing to publish: then there is no such address.
            match parts.auth.jwks.as_ref().filter(|keys| keys.has_keys()) {
                Some(keys) => router.merge(endpoint::jwks(keys)),
                None => router,
            }
        }));
        let router = merged.map_err(|panic| ServeError::Routes { why: panic_message(&*panic).to_owned() })?;
        Ok(host.wrap(router))
    }

    fn endpoints(&self, access: Access) -> Arc<Distributed> {
        let parts = &self.0;
        Arc::new(Distributed {
            health: parts.health.clone(),
            metrics: parts.metrics.clone(),
            config: parts.config.clone(),
            info: parts.info.clone(),
            access,
            redis: wiring::store_status(parts.primitives.redis.as_ref()),
            cache: parts.primitives.cache.clone(),
            locks: parts.primitives.locks.clone(),
            rate_limiter: parts.primitives.rate_limiter.clone(),
            breakers: parts.resilience.breakers.clone(),
            events: self.events().clone(),
            event_bus: parts.primitives.bus.status(),
        })
    }

    async fn open(&self, main: &Site, addr: SocketAddr, listeners: &Listeners) -> Result<(), ServeError> {
        let config = &self.0.config;
        listeners.add(main.listen(addr).await?);
        if let Some(addr) = wiring::admin(config) {
            let (access, mut exposure) = wiring::exposure(config, self.0.auth.authenticator.as_ref());
            exposure.sensitive = true;
            let routes = endpoint::api(access.clone(), &exposure).with_state(self.endpoints(access));
            let admin = Site {
                host: Arc::clone(&main.host),
                routes: main.host.wrap(routes.into()),
                // What stays on this machine needs none, and the certificate would not name it.
                tls: main.tls.clone().filter(|_| !addr.ip().is_loopback()),
            };
            listeners.add(admin.listen(addr).await?);
        }
        Ok(())
    }

    /// Hands the listeners, and who moves them, to the shutdown.
    fn stop_with(&self, host: &Arc<Host>, listeners: &Listeners, mover: TaskGroup) {
        let lifecycle = &self.0.lifecycle;
        let server = self.0.config.get::<config::Server>();
        let grace = server.shutdown_timeout;
        let (health, host) = (self.0.health.clone(), Arc::clone(host));
        lifecycle.on(Step::NotReady, "readiness", grace, async move || {
            health.set_draining();
            host.start_draining();
            Ok::<_, Infallible>(())
        });
        let (closing, streams) = (listeners.clone(), self.event_streams().clone());
        lifecycle.on(Step::StopAccepting, "listeners", grace, async move || {
            // A listener opened from here on would be nobody's to close.
            let ended = mover.stop(grace).await;
            closing.stop_accepting();
            // They would not end by themselves; their clients come back to another instance.
            streams.close();
            ended
        });
        let finishing = listeners.clone();
        // A little less than the drain delay leaves of the shutdown, so that what is left is closed in order.
        let patience = grace.saturating_sub(server.drain_delay).mul_f32(0.9);
        lifecycle.on(Step::FinishRequests, "requests in flight", grace, async move || {
            finishing.drain(patience).await
        });
    }
}

/// What a newcomer looks at first: a route of the service's own that needs nothing, else the page of all.
fn landing(routes: &Routes) -> Option<String> {
    let mut table = routes.table().iter();
    let open = |entry: &&RouteEntry| {
        let gets = entry.method == Some(Method::GET);
        gets && entry.rule == Rule::Public && !entry.path.contains('{')
    };
    let page = || cfg!(feature = "docs").then(|| "/docs/".to_owned());
    table.find(open).map(|entry| entry.path.clone()).or_else(page)
}

/// An API description that says whose it is.
fn described<S: Clone + Send + Sync + 'static>(name: &str, version: &str) -> OpenApiRouter<S> {
    let info = InfoBuilder::new().title(name).version(version).build();
    OpenApiRouter::with_openapi(OpenApiBuilder::new().info(info).build())
}

/// The API description without a running app.
pub(crate) fn document<S: Clone + Send + Sync + 'static>(
    name: &str,
    version: &str,
    api: Routes<S>,
) -> OpenApi {
    let endpoints = endpoint::api(Access::new(false), &Exposure::all()).into_openapi();
    let mut document = described::<S>(name, version).merge(api.into_router(None)).into_openapi();
    document.merge(endpoints);
    document
}

/// What a listener serves, wherever it is.
struct Site {
    host: Arc<Host>,
    routes: Router,
    tls: Option<Tls>,
}

impl Site {
    async fn listen(&self, addr: SocketAddr) -> Result<Listening, BindError> {
        match &self.tls {
            Some(tls) => self.host.listen_tls(addr, self.routes.clone(), tls.clone()).await,
            None => self.host.listen(addr, self.routes.clone()).await,
        }
    }
}

/// How long to wait before an address that could not be opened is tried again.
const RETRY: Duration = Duration::from_secs(5);

/// Moves the main listener when `PORT` or `HOST` changes: first the new address is opened, then the
/// old listener drains. An address that cannot be opened leaves everything as it was, and is tried again
/// until it opens or the configuration asks for another.
async fn follow(
    mut changes: Watch<config::Server>,
    mut current: SocketAddr,
    main: Site,
    listeners: Listeners,
) {
    let mut refused = None;
    let mut drains = FuturesUnordered::new();
    loop {
        tokio::select! {
            Some(()) = drains.next() => continue,
            changed = changes.changed() => if changed.is_none() { return },
            () = tokio::time::sleep(RETRY), if refused.is_some() => {}
        }
        let server = changes.current();
        let wanted = wiring::address(&server);
        if wanted == current {
            refused = None;
            continue;
        }
        match main.listen(wanted).await {
            Ok(opened) => {
                tracing::info!(address = %opened.addr(), "listening on a new address");
                (current, refused) = (wanted, None);
                let old = listeners.replace_first(opened);
                // The next change may be the way back.
                old.release().await;
                drains.push(retire(listeners.clone(), old, server.shutdown_timeout));
            }
            Err(error) => {
                if refused.replace(wanted) != Some(wanted) {
                    tracing::error!(%error, "staying on the old address, trying again");
                }
            }
        }
    }
}

async fn retire(listeners: Listeners, old: Arc<Listening>, grace: Duration) {
    if let Err(unfinished) = old.drain(grace).await {
        tracing::warn!(address = %old.addr(), %unfinished, "old listener closed");
    }
    listeners.remove(&old);
}

/// Closes the listeners when [`Mainstay::serve`] ends or is dropped; the shutdown has the list as well.
#[derive(Default)]
struct CloseOnDrop(Listeners);

impl Drop for CloseOnDrop {
    fn drop(&mut self) {
        self.0.with(Vec::clear);
    }
}

/// The listeners that are open or draining. The first is the main one.
#[derive(Debug, Clone, Default)]
struct Listeners(Arc<Mutex<Vec<Arc<Listening>>>>);

impl Listeners {
    fn with<T>(&self, work: impl FnOnce(&mut Vec<Arc<Listening>>) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn add(&self, listening: Listening) {
        self.with(|all| all.push(Arc::new(listening)));
    }

    /// The old one stays in the list until it is drained: a shutdown waits for its requests too.
    fn replace_first(&self, listening: Listening) -> Arc<Listening> {
        self.with(|all| {
            all.insert(0, Arc::new(listening));
            Arc::clone(&all[1])
        })
    }

    fn remove(&self, drained: &Arc<Listening>) {
        self.with(|all| all.retain(|listening| !Arc::ptr_eq(listening, drained)));
    }

    fn addrs(&self) -> Vec<SocketAddr> {
        self.with(|all| all.iter().map(|listening| listening.addr()).collect())
    }

    fn stop_accepting(&self) {
        self.with(|all| all.iter().for_each(|listening| listening.stop_accepting()));
    }

    async fn drain(&self, deadline: Duration) -> Result<(), Unfinished> {
        let all = self.with(|all| all.clone());
        join_all(all.iter().map(|listening| listening.drain(deadline))).await.into_iter().collect()
    }
}
