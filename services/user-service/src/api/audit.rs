//! `/api/users/{id}/audit`: the trail in HTTP's words.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use mainstay::axum;
use mainstay::http::{Caller, Json, Path, Problem, Query, Routes};
use mainstay::openapi::{ToSchema, routes, utoipa};
use serde::Serialize;
use uuid::Uuid;

use super::{Api, NO_STORE, PageQuery, READ};
use crate::audit::{Audit, AuditEntry};

pub(super) fn routes() -> Routes<Api> {
    Routes::new().authenticated(routes!(list))
}

/// What happened to a user, oldest first.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct AuditTrailPage {
    items: Vec<AuditEntry>,
    /// Where the next page begins; absent on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
}

/// Read what happened to a user, oldest first. The trail outlives the user. It is written from events, so
/// a change appears in it shortly after it was answered.
#[utoipa::path(get, path = "/api/users/{id}/audit", tag = "users", params(("id" = Uuid, Path), PageQuery),
    responses((status = 200, body = AuditTrailPage), (status = 404, description = "There never was such a user"),
        (status = 422, description = "`limit` or `cursor` is not valid")))]
async fn list(
    State(audit): State<Audit>,
    caller: Caller,
    Path(id): Path<Uuid>,
    Query(page): Query<PageQuery>,
) -> Result<Response, Problem> {
    caller.must_own(&id.to_string(), READ)?;
    let page = audit.of(&id.to_string(), page.limit.as_deref(), page.cursor.as_deref()).await?;
    let next_cursor = page.next.map(|place| place.to_string());
    Ok(([NO_STORE], Json(AuditTrailPage { items: page.items, next_cursor })).into_response())
}
