//! `/api/users`: users in HTTP's words.

use std::hash::{DefaultHasher, Hash, Hasher};

use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use mainstay::axum;
use mainstay::http::{Caller, ETag, IfMatch, Json, Path, Problem, Query, Routes, not_modified};
use mainstay::openapi::{IntoParams, ToSchema, routes, utoipa};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Api, NO_STORE, READ, REVALIDATE, WRITE};
use crate::users::{NewUserInput, Page, User, UserPatchInput, UserService};

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const IDEMPOTENCY_REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

pub(super) fn routes() -> Routes<Api> {
    Routes::new()
        .permission(READ, routes!(list))
        .permission(WRITE, routes!(create))
        .authenticated(routes!(get, change))
        .permission(WRITE, routes!(delete))
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

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct UsersQuery {
    /// Only those with this phone number, such as `+41441234567`.
    phone: Option<String>,
    /// Items on a page, 1 to 100. Default 20.
    #[param(value_type = Option<u8>)]
    limit: Option<String>,
    /// `nextCursor` of the page before.
    cursor: Option<String>,
}

/// List users, oldest first.
#[utoipa::path(get, path = "/api/users", tag = "users", params(UsersQuery), responses((status = 200, body = UserPage),
    (status = 304), (status = 422, description = "`phone`, `limit` or `cursor` is not valid")))]
async fn list(
    State(users): State<UserService>,
    Query(query): Query<UsersQuery>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let page = match &query.phone {
        Some(phone) => users.by_phone(phone).await?,
        None => users.list(query.limit.as_deref(), query.cursor.as_deref()).await?,
    };
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
    caller: Caller,
    headers: HeaderMap,
    Json(input): Json<NewUserInput>,
) -> Result<Response, Problem> {
    let key = headers.get(IDEMPOTENCY_KEY).map(|key| String::from_utf8_lossy(key.as_bytes()));
    let scope = format!("POST /api/users by {}", caller.subject());
    let created = users.create(input, &scope, key.as_deref()).await?;
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
    caller: Caller,
    Path(id): Path<Uuid>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let id = id.to_string();
    caller.must_own(&id, READ)?;
    let user = users.get(&id).await?;
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
    caller: Caller,
    Path(id): Path<Uuid>,
    headers: HeaderMap,
    Json(patch): Json<UserPatchInput>,
) -> Result<Response, Problem> {
    let id = id.to_string();
    caller.must_own(&id, WRITE)?;
    if patch.role.is_some() {
        // Nobody gives himself a role.
        caller.must(WRITE)?;
    }
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
/// Never the cached one: another instance may have made the next.
async fn expected_version(
    users: &UserService,
    id: &str,
    headers: &HeaderMap,
) -> Result<Option<i64>, Problem> {
    match IfMatch::from_headers(headers) {
        IfMatch::OneOf(tags) => {
            let current = users.current(id).await?;
            if let Err(stale) = IfMatch::OneOf(tags).check(&tag_of(&current)) {
                // The client read its version from here, maybe: the next read must not answer it again.
                users.forget(id).await;
                return Err(stale);
            }
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
