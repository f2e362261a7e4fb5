//! `/api`: the domain in HTTP's words.

mod audit;
mod auth;
mod avatar;
mod stream;
mod users;

use std::sync::Arc;

use axum::extract::FromRef;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use mainstay::event::Events;
use mainstay::http::{EventStreams, FieldError, Problem, Routes, TrustedProxies};
use mainstay::openapi::{IntoParams, utoipa};
use mainstay::{axum, cache, event, sql};
use serde::Deserialize;

use crate::accounts::Accounts;
use crate::audit::Audit;
use crate::avatar::Avatars;
use crate::users::{Error, UserService};

/// What the handlers work with. Each takes the part it needs. Shared, because the router clones it for every request.
#[derive(Clone)]
pub(crate) struct Api(Arc<Parts>);

pub(crate) struct Parts {
    pub(crate) accounts: Accounts,
    pub(crate) proxies: TrustedProxies,
    pub(crate) users: UserService,
    pub(crate) audit: Audit,
    pub(crate) avatars: Avatars,
    pub(crate) events: Events,
    pub(crate) streams: EventStreams,
}

impl Api {
    pub(crate) fn new(parts: Parts) -> Self {
        Self(Arc::new(parts))
    }
}

impl FromRef<Api> for UserService {
    fn from_ref(api: &Api) -> Self {
        api.0.users.clone()
    }
}

impl FromRef<Api> for Accounts {
    fn from_ref(api: &Api) -> Self {
        api.0.accounts.clone()
    }
}

impl FromRef<Api> for Events {
    fn from_ref(api: &Api) -> Self {
        api.0.events.clone()
    }
}

impl FromRef<Api> for EventStreams {
    fn from_ref(api: &Api) -> Self {
        api.0.streams.clone()
    }
}

impl FromRef<Api> for Avatars {
    fn from_ref(api: &Api) -> Self {
        api.0.avatars.clone()
    }
}

impl FromRef<Api> for Audit {
    fn from_ref(api: &Api) -> Self {
        api.0.audit.clone()
    }
}

/// The routes of the service; a new one goes here.
pub(crate) fn api() -> Routes<Api> {
    auth::routes()
        .merge(users::routes())
        .merge(avatar::routes())
        .merge(stream::routes())
        .merge(audit::routes())
}

/// The permission to see all users.
const READ: &str = "users:read";
/// The permission to create, change and delete them.
const WRITE: &str = "users:write";

/// A person's data: a browser may keep it and must ask before using it again; a shared cache may not
/// keep it at all.
const REVALIDATE: (HeaderName, HeaderValue) =
    (header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
const NO_STORE: (HeaderName, HeaderValue) = (header::CACHE_CONTROL, HeaderValue::from_static("no-store"));

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct PageQuery {
    /// Items on a page, 1 to 100. Default 20.
    #[param(value_type = Option<u8>)]
    limit: Option<String>,
    /// `nextCursor` of the page before.
    cursor: Option<String>,
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        match error {
            Error::Invalid(fields) => Self::validation(
                fields.into_iter().map(|error| FieldError::new(error.field, error.code, error.message)),
            ),
            Error::NotFound => Self::not_found("No user has this id."),
            Error::EmailTaken => Self::conflict("Another user has this e-mail address."),
            Error::Stale { .. } => Self::precondition_failed(),
            Error::KeyReused => Self::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "idempotency-key-reused",
                "This idempotency key belongs to another request",
            ),
            Error::Store(error) => failed(&error),
            Error::Announce(error) if error.is_transient() || matches!(error, event::Error::Stopped) => {
                Self::unavailable(1).because(&error)
            }
            Error::Announce(error) => Self::internal(&error),
            Error::Seal(error) => Self::internal(&error),
            Error::Read(cache::Error::LoadTimeout { .. }) => Self::timeout(),
            Error::Read(error) => match error.load_error::<Error>() {
                Some(Error::Store(cause)) => failed(cause),
                _ => Self::internal(&error),
            },
        }
    }
}

fn failed(error: &sql::Error) -> Problem {
    match error {
        // Whether a statement that was cut off took effect is not known: no invitation to retry.
        sql::Error::Timeout { .. } => Problem::timeout().because(error),
        // It hands over to another, or somebody mends it.
        sql::Error::ReadOnly { .. } => Problem::unavailable(1).because(error),
        error if error.is_transient() => Problem::unavailable(1).because(error),
        error => Problem::internal(error),
    }
}
