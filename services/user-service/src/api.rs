//! `/api/users`: the domain in HTTP's words.

use std::hash::{DefaultHasher, Hash, Hasher};

use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use mainstay::http::{ETag, FieldError, IfMatch, Json, Path, Problem, Query, not_modified};
use mainstay::openapi::{IntoParams, OpenApiRouter, ToSchema, routes, utoipa};
use mainstay::{axum, sql};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::users::{Error, NewUserInput, Page, User, UserPatchInput, UserService};

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const IDEMPOTENCY_REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// A person's data: a browser may keep it and must ask before using it again; a shared cache may not
/// keep it at all.
const REVALIDATE: (HeaderName, HeaderValue) =
    (header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
const NO_STORE: (HeaderName, HeaderValue) = (header::CACHE_CONTROL, HeaderValue::from_static("no-store"));

/// The routes of the service; a new one goes here.
pub(crate) fn api() -> OpenApiRouter<UserService> {
    OpenApiRouter::new().routes(routes!(list, create)).routes(routes!(get, change, delete))
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct PageQuery {
    /// Users on a page, 1 to 100. Default 20.
    #[param(value_type = Option<u8>)]
    limit: Option<String>,
    /// `nextCursor` of the page before.
    cursor: Option<String>,
}

/// A page of users, oldest first.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct UserPage {
    items: Vec<User>,
    /// Where the next page begins; absent on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
}

/// List users, oldest first.
#[utoipa::path(get, path = "/api/users", tag = "users", params(PageQuery), responses(
    (status = 200, body = UserPage), (status = 304), (status = 422, description = "`limit` or `cursor` is not valid")))]
async fn list(
    State(users): State<UserService>,
    Query(page): Query<PageQuery>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let page = users.list(page.limit.as_deref(), page.cursor.as_deref()).await?;
    let tag = tag_of_page(&page);
    if tag.is_known_to(&headers) {
        return Ok(not_modified(&tag));
    }
    let body = UserPage { items: page.items, next_cursor: page.next.map(|cursor| cursor.to_string()) };
    Ok(([REVALIDATE, (header::ETAG, tag.header())], Json(body)).into_response())
}

/// Create a user. With an `Idempotency-Key`, a repetition within 24 hours creates nothing and gets the
/// first answer again.
#[utoipa::path(post, path = "/api/users", tag = "users", request_body = NewUserInput,
    params(("Idempotency-Key" = Option<String>, Header, description = "1 to 128 visible ASCII characters")),
    responses((status = 201, body = User), (status = 409, description = "The e-mail address is in use"),
        (status = 422, description = "Fields are not valid; all of them are listed")))]
async fn create(
    State(users): State<UserService>,
    headers: HeaderMap,
    Json(input): Json<NewUserInput>,
) -> Result<Response, Problem> {
    let key = headers.get(IDEMPOTENCY_KEY).map(|key| String::from_utf8_lossy(key.as_bytes()));
    // Until there is sign-in there is one caller, so keys are kept apart by route only.
    let created = users.create(input, "POST /api/users", key.as_deref()).await?;
    let mut response = (StatusCode::CREATED, [NO_STORE], versioned(&created.user)).into_response();
    let location = HeaderValue::try_from(format!("/api/users/{}", created.user.id));
    response.headers_mut().insert(header::LOCATION, location.expect("an id is a UUID"));
    if created.replayed {
        response.headers_mut().insert(IDEMPOTENCY_REPLAYED, HeaderValue::from_static("true"));
    }
    Ok(response)
}

/// Read a user.
#[utoipa::path(get, path = "/api/users/{id}", tag = "users", params(("id" = Uuid, Path)),
    responses((status = 200, body = User), (status = 304), (status = 404)))]
async fn get(
    State(users): State<UserService>,
    Path(id): Path<Uuid>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let user = users.get(&id.to_string()).await?;
    let tag = tag_of(&user);
    if tag.is_known_to(&headers) {
        return Ok(not_modified(&tag));
    }
    Ok(([REVALIDATE], versioned(&user)).into_response())
}

/// Change a user: a JSON merge patch. Absent fields stay, `null` removes the phone number. With
/// `If-Match`, only the version named is changed.
#[utoipa::path(patch, path = "/api/users/{id}", tag = "users", request_body = UserPatchInput,
    params(("id" = Uuid, Path), ("If-Match" = Option<String>, Header)),
    responses((status = 200, body = User), (status = 404), (status = 409), (status = 412), (status = 422)))]
async fn change(
    State(users): State<UserService>,
    Path(id): Path<Uuid>,
    headers: HeaderMap,
    Json(patch): Json<UserPatchInput>,
) -> Result<Response, Problem> {
    let id = id.to_string();
    let expected = expected_version(&users, &id, &headers).await?;
    let user = users.update(&id, patch, expected).await?;
    Ok(([NO_STORE], versioned(&user)).into_response())
}

/// Delete a user. The data is kept for a while, nobody sees it, and the e-mail address is free again.
#[utoipa::path(delete, path = "/api/users/{id}", tag = "users",
    params(("id" = Uuid, Path), ("If-Match" = Option<String>, Header)),
    responses((status = 204), (status = 404), (status = 412)))]
async fn delete(
    State(users): State<UserService>,
    Path(id): Path<Uuid>,
    headers: HeaderMap,
) -> Result<StatusCode, Problem> {
    let id = id.to_string();
    let expected = expected_version(&users, &id, &headers).await?;
    users.delete(&id, expected).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The one version that `If-Match` allows to be changed; the change itself checks it again, atomically.
async fn expected_version(
    users: &UserService,
    id: &str,
    headers: &HeaderMap,
) -> Result<Option<i64>, Problem> {
    match IfMatch::from_headers(headers) {
        IfMatch::OneOf(tags) => {
            let current = users.get(id).await?;
            IfMatch::OneOf(tags).check(&tag_of(&current))?;
            Ok(Some(current.version))
        }
        _ => Ok(None),
    }
}

fn versioned(user: &User) -> impl IntoResponse {
    ([(header::ETAG, tag_of(user).header())], Json(user.clone()))
}

fn tag_of(user: &User) -> ETag {
    ETag::new(user.version)
}

/// A full page changes, too, when the first user of a next page appears.
fn tag_of_page(page: &Page) -> ETag {
    let mut hasher = DefaultHasher::new();
    for user in &page.items {
        (&user.id, user.version).hash(&mut hasher);
    }
    page.next.is_some().hash(&mut hasher);
    ETag::new(format_args!("{:016x}", hasher.finish()))
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
            // Whether a statement that was cut off took effect is not known: no invitation to retry.
            Error::Store(error @ sql::Error::Timeout { .. }) => Self::timeout().because(&error),
            Error::Store(error) if error.is_transient() => Self::unavailable(1).because(&error),
            Error::Store(error) => Self::internal(&error),
        }
    }
}
