use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;

use axum::extract::Request;
use axum::middleware::from_fn_with_state;
use axum::response::IntoResponse;
use axum::routing::{MethodRouter, Route};
use http::Method;
use mainstay_auth::Authenticate;
use tower::{Layer, Service};
use utoipa::openapi::path::{Operation, PathItem};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{OpenApi, ResponseBuilder};
use utoipa_axum::router::{OpenApiRouter, UtoipaMethodRouter};

use super::Rule;
use super::guard::{Gate, guard};

/// Name of the security scheme in API descriptions.
const BEARER: &str = "bearer";

/// Routes, each with the rule of who may use it: there is no way to add one without.
///
/// ```
/// use axum::routing::get;
/// use mainstay_http::{Caller, Routes, Rule};
///
/// let routes: Routes = Routes::new()
///     .route(Rule::Public, "/hello", get(async || "hello, whoever you are"))
///     .route(Rule::Authenticated, "/me", get(async |caller: Caller| caller.subject().to_owned()))
///     .route(Rule::Permission("reports:read"), "/reports", get(async || "…"));
/// assert_eq!(routes.table()[2].to_string(), "any /reports: permission reports:read");
/// ```
pub struct Routes<S = ()> {
    router: OpenApiRouter<S>,
    gates: Vec<Gate>,
    table: Vec<RouteEntry>,
}

/// A route and its rule.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RouteEntry {
    /// `None` where the route is not described: it may be any.
    pub method: Option<Method>,
    /// As it was given: `/api/users/{id}`.
    pub path: String,
    /// Who may use it.
    pub rule: Rule,
}

impl fmt::Display for RouteEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let method = self.method.as_ref().map_or("any", Method::as_str);
        write!(f, "{method} {}: {}", self.path, self.rule)
    }
}

impl<S: Clone + Send + Sync + 'static> Default for Routes<S> {
    fn default() -> Self {
        Self::new()
    }
}

impl<S: Clone + Send + Sync + 'static> Routes<S> {
    /// None yet.
    #[must_use]
    pub fn new() -> Self {
        Self { router: OpenApiRouter::new(), gates: Vec::new(), table: Vec::new() }
    }

    /// Adds what `routes!` collects, for everybody.
    #[must_use]
    pub fn public(self, routes: UtoipaMethodRouter<S>) -> Self {
        self.under(Rule::Public, routes)
    }

    /// Adds what `routes!` collects, for whoever is recognised.
    #[must_use]
    pub fn authenticated(self, routes: UtoipaMethodRouter<S>) -> Self {
        self.under(Rule::Authenticated, routes)
    }

    /// Adds what `routes!` collects, for callers in this role.
    #[must_use]
    pub fn role(self, role: &'static str, routes: UtoipaMethodRouter<S>) -> Self {
        self.under(Rule::Role(role), routes)
    }

    /// Adds what `routes!` collects, for callers with this permission.
    #[must_use]
    pub fn permission(self, permission: &'static str, routes: UtoipaMethodRouter<S>) -> Self {
        self.under(Rule::Permission(permission), routes)
    }

    /// Adds what `routes!` collects, under a rule.
    #[must_use]
    pub fn under(self, rule: Rule, routes: UtoipaMethodRouter<S>) -> Self {
        self.add(rule, OpenApiRouter::new().routes(routes))
    }

    /// Adds a route that is not in the API description, under a rule.
    #[must_use]
    pub fn route(mut self, rule: Rule, path: &str, methods: MethodRouter<S, Infallible>) -> Self {
        self.table.push(RouteEntry { method: None, path: path.to_owned(), rule });
        self.add(rule, OpenApiRouter::new().route(path, methods))
    }

    /// Adds a whole router under one rule, described or not. It must have a route, unless the rule is public. Its
    /// fallback, which belongs to no route, is taken under the public rule only.
    #[must_use]
    pub fn all(mut self, rule: Rule, routes: impl Into<OpenApiRouter<S>>) -> Self {
        let routes = routes.into();
        if routes.get_openapi().paths.paths.is_empty() {
            self.table.push(RouteEntry { method: None, path: "*".to_owned(), rule });
        }
        self.add(rule, routes)
    }

    fn add(mut self, rule: Rule, mut routes: OpenApiRouter<S>) -> Self {
        for (path, item) in &mut routes.get_openapi_mut().paths.paths {
            for (method, operation) in operations(item) {
                self.table.push(RouteEntry { method: Some(method), path: path.clone(), rule });
                if rule != Rule::Public {
                    describe(operation, rule);
                }
            }
        }
        if rule != Rule::Public {
            let gate = Gate::default();
            self.gates.push(Arc::clone(&gate));
            // No rule would stand before it.
            let (router, description) = routes.split_for_parts();
            routes = OpenApiRouter::from(router.reset_fallback());
            *routes.get_openapi_mut() = description;
            routes = routes.route_layer(from_fn_with_state((gate, rule), guard));
        }
        self.router = self.router.merge(routes);
        self
    }

    /// These and the others. Rules stay with their routes.
    ///
    /// # Panics
    /// If two routes are the same.
    #[must_use]
    pub fn merge(mut self, other: Self) -> Self {
        self.router = self.router.merge(other.router);
        self.gates.extend(other.gates);
        self.table.extend(other.table);
        self
    }

    /// The same with their state, as axum's `with_state`.
    #[must_use]
    pub fn with_state<S2>(self, state: S) -> Routes<S2> {
        Routes { router: self.router.with_state(state), gates: self.gates, table: self.table }
    }

    /// Puts a layer round the routes that are there, as axum's `route_layer`; outside of their guards, so that a limit
    /// counts those who are refused, too.
    #[must_use]
    pub fn route_layer<L>(mut self, layer: L) -> Self
    where
        L: Layer<Route> + Clone + Send + Sync + 'static,
        L::Service: Service<Request> + Clone + Send + Sync + 'static,
        <L::Service as Service<Request>>::Response: IntoResponse + 'static,
        <L::Service as Service<Request>>::Error: Into<Infallible> + 'static,
        <L::Service as Service<Request>>::Future: Send + 'static,
    {
        self.router = self.router.route_layer(layer);
        self
    }

    /// Every route and its rule, in the order in which they were added.
    #[must_use]
    pub fn table(&self) -> &[RouteEntry] {
        &self.table
    }

    /// The API description so far.
    #[must_use]
    pub fn description(&self) -> &OpenApi {
        self.router.get_openapi()
    }

    /// The router, whose guarded routes let pass whom `authenticate` recognises; without one nobody.
    #[must_use]
    pub fn into_router(mut self, authenticate: Option<&Arc<dyn Authenticate>>) -> OpenApiRouter<S> {
        if let Some(authenticate) = authenticate {
            for gate in &self.gates {
                // Only this sets it, and consumes the routes.
                let _ = gate.set(Arc::clone(authenticate));
            }
        }
        if self.table.iter().any(|entry| entry.rule != Rule::Public) {
            let scheme = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).bearer_format("JWT").build();
            let components = self.router.get_openapi_mut().components.get_or_insert_default();
            components.add_security_scheme(BEARER, SecurityScheme::Http(scheme));
        }
        self.router
    }
}

impl<S> fmt::Debug for Routes<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.table.iter().map(ToString::to_string)).finish()
    }
}

/// What clients read of the rule.
pub(crate) fn describe(operation: &mut Operation, rule: Rule) {
    operation.security.get_or_insert_default().push(SecurityRequirement::new::<_, [&str; 0], _>(BEARER, []));
    let responses = &mut operation.responses.responses;
    let mut add = |status: &str, text: String| {
        let response = ResponseBuilder::new().description(text).build();
        responses.entry(status.to_owned()).or_insert_with(|| response.into());
    };
    add("401", "No token that is recognised".to_owned());
    match rule {
        Rule::Public | Rule::Authenticated => add("403", "Not the caller's own".to_owned()),
        Rule::Role(_) | Rule::Permission(_) => add("403", format!("Needs {rule}")),
    }
}

pub(crate) fn operations(item: &mut PathItem) -> impl Iterator<Item = (Method, &mut Operation)> {
    [
        (Method::GET, item.get.as_mut()),
        (Method::PUT, item.put.as_mut()),
        (Method::POST, item.post.as_mut()),
        (Method::DELETE, item.delete.as_mut()),
        (Method::OPTIONS, item.options.as_mut()),
        (Method::HEAD, item.head.as_mut()),
        (Method::PATCH, item.patch.as_mut()),
        (Method::TRACE, item.trace.as_mut()),
    ]
    .into_iter()
    .filter_map(|(method, operation)| Some((method, operation?)))
}
