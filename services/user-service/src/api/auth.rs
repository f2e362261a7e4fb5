//! `/api/auth`: signing in and out in HTTP's words.

use axum::extract::{FromRequestParts, Path as Segment, State};
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use mainstay::auth::{self, session};
use mainstay::axum;
use mainstay::http::{Caller, Json, Problem, Routes};
use mainstay::openapi::{ToSchema, routes, utoipa};
use serde::Serialize;

use super::{Api, NO_STORE};
use crate::accounts::{
    Accounts, Error, LoginInput, Origin, PasswordInput, RefreshInput, RegisterInput, Tokens,
};
use crate::users::User;

pub(super) fn routes() -> Routes<Api> {
    Routes::new()
        .public(routes!(register))
        .public(routes!(login))
        .public(routes!(refresh))
        .authenticated(routes!(logout))
        .authenticated(routes!(me))
        .authenticated(routes!(password))
        .authenticated(routes!(sessions))
        .authenticated(routes!(end_session))
}

/// The tokens of a session.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct TokensBody {
    /// To be sent as `Authorization: Bearer …`.
    access_token: String,
    /// Good for one refresh.
    refresh_token: String,
    #[schema(example = "Bearer")]
    token_type: &'static str,
    /// Seconds until the access token is worth nothing.
    expires_in: u64,
}

/// A session that can be refreshed.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct SessionBody {
    id: String,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    used_at: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    expires_at: Timestamp,
    /// What the client said it is, and the address it signed in from.
    about: String,
    /// The one that asks.
    current: bool,
}

/// The sessions of the caller.
#[derive(Debug, Serialize, ToSchema)]
struct SessionList {
    items: Vec<SessionBody>,
}

/// Register: create a user of one's own.
#[utoipa::path(post, path = "/api/auth/register", tag = "auth", request_body = RegisterInput, responses(
    (status = 201, body = User), (status = 409, description = "The e-mail address is in use"),
    (status = 422, description = "Fields are not valid; all of them are listed"),
    (status = 429, description = "Too many attempts")))]
async fn register(
    State(accounts): State<Accounts>,
    from: Origin,
    Json(input): Json<RegisterInput>,
) -> Result<Response, Problem> {
    let user = accounts.register(input, &from).await?;
    let location = HeaderValue::try_from(format!("/api/users/{}", user.id)).expect("an id is a UUID");
    Ok((StatusCode::CREATED, [NO_STORE, (header::LOCATION, location)], Json(user)).into_response())
}

/// Sign in.
#[utoipa::path(post, path = "/api/auth/login", tag = "auth", request_body = LoginInput, responses(
    (status = 200, body = TokensBody), (status = 401, description = "Address or password is wrong"),
    (status = 422), (status = 429, description = "Too many attempts")))]
async fn login(
    State(accounts): State<Accounts>,
    from: Origin,
    Json(input): Json<LoginInput>,
) -> Result<Response, Problem> {
    Ok(answer(&accounts.login(input, &from).await?))
}

/// Get new tokens for a refresh token, which is worth nothing afterwards.
#[utoipa::path(post, path = "/api/auth/refresh", tag = "auth", request_body = RefreshInput, responses(
    (status = 200, body = TokensBody), (status = 401), (status = 422)))]
async fn refresh(
    State(accounts): State<Accounts>,
    Json(input): Json<RefreshInput>,
) -> Result<Response, Problem> {
    Ok(answer(&accounts.refresh(input).await?))
}

/// Sign out: end the session of the token.
#[utoipa::path(post, path = "/api/auth/logout", tag = "auth", responses((status = 204)))]
async fn logout(State(accounts): State<Accounts>, caller: Caller) -> Result<StatusCode, Problem> {
    accounts.logout(&caller).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Who one is.
#[utoipa::path(get, path = "/api/auth/me", tag = "auth", responses((status = 200, body = User)))]
async fn me(State(accounts): State<Accounts>, caller: Caller) -> Result<Response, Problem> {
    Ok(([NO_STORE], Json(accounts.me(&caller).await?)).into_response())
}

/// Change one's password. Ends every session and answers the tokens of a new one.
#[utoipa::path(post, path = "/api/auth/password", tag = "auth", request_body = PasswordInput, responses(
    (status = 200, body = TokensBody), (status = 401, description = "The current password is wrong"),
    (status = 422), (status = 429, description = "Too many attempts")))]
async fn password(
    State(accounts): State<Accounts>,
    caller: Caller,
    from: Origin,
    Json(input): Json<PasswordInput>,
) -> Result<Response, Problem> {
    Ok(answer(&accounts.change_password(&caller, input, &from).await?))
}

/// List one's open sessions, the newest first.
#[utoipa::path(get, path = "/api/auth/sessions", tag = "auth", responses((status = 200, body = SessionList)))]
async fn sessions(State(accounts): State<Accounts>, caller: Caller) -> Result<Response, Problem> {
    let items = accounts.sessions(&caller).await?.into_iter().map(|session| SessionBody {
        current: caller.session() == Some(&session.id),
        id: session.id,
        created_at: session.opened,
        used_at: session.used,
        expires_at: session.expires,
        about: session.about,
    });
    Ok(([NO_STORE], Json(SessionList { items: items.collect() })).into_response())
}

/// End one of one's sessions, with the tokens that were issued in it.
#[utoipa::path(delete, path = "/api/auth/sessions/{id}", tag = "auth", params(("id" = String, Path)),
    responses((status = 204), (status = 404)))]
async fn end_session(
    State(accounts): State<Accounts>,
    caller: Caller,
    Segment(id): Segment<String>,
) -> Result<StatusCode, Problem> {
    accounts.end_session(&caller, &id).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn answer(tokens: &Tokens) -> Response {
    let body = TokensBody {
        access_token: tokens.access.expose().clone(),
        refresh_token: tokens.refresh.expose().clone(),
        token_type: "Bearer",
        expires_in: tokens.expires_in.as_secs(),
    };
    ([NO_STORE], Json(body)).into_response()
}

/// As far as trusted proxies vouch for it.
impl FromRequestParts<Api> for Origin {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, Self::Rejection> {
        let agent = parts.headers.get(header::USER_AGENT).and_then(|agent| agent.to_str().ok());
        Ok(Self {
            client: api.0.proxies.client_of(parts).to_string(),
            agent: agent.map(|agent| agent.chars().take(256).collect()),
        })
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        match error {
            Error::NotRecognised => Self::unauthorized(),
            Error::TooMany { retry_after } => too_many(retry_after.as_secs() + 1),
            Error::NoSuchSession => Self::not_found("No session of yours has this id."),
            Error::User(error) => error.into(),
            Error::Password(error @ auth::password::Error::Busy) => Self::unavailable(1).because(&error),
            // Signing in, refreshing and signing out may be repeated, whether they took effect or not.
            Error::Session(
                error @ (session::Error::Unavailable(_)
                | session::Error::Unknown(_)
                | session::Error::AccessRemains),
            ) => Self::unavailable(1).because(&error),
            Error::Limit(error) => Self::unavailable(1).because(&error),
            Error::Password(error) => Self::internal(&error),
            Error::Session(error) => Self::internal(&error),
            Error::Token(error) => Self::internal(&error),
        }
    }
}

fn too_many(seconds: u64) -> Problem {
    let problem = Problem::new(StatusCode::TOO_MANY_REQUESTS, "too-many-attempts", "Too many attempts");
    problem.header(RETRY_AFTER, HeaderValue::from(seconds))
}

const RETRY_AFTER: HeaderName = header::RETRY_AFTER;

#[cfg(test)]
mod tests {
    use mainstay::store::StoreError;

    use super::{Error, Problem, session};

    #[test]
    fn sessions_that_do_not_answer_are_no_fault_of_ours() {
        let (unknown, down) = (StoreError::unknown("cut off"), StoreError::unavailable("down"));
        for error in [unknown.into(), down.into(), session::Error::AccessRemains] {
            let problem = Problem::from(Error::Session(error));
            assert_eq!(problem.status(), 503);
        }
    }
}
