//! `/api/users/{id}/avatar`.

use axum::extract::State;
use axum::http::{HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use mainstay::axum;
use mainstay::http::{Caller, Path, Problem, Routes};
use mainstay::openapi::{routes, utoipa};
use uuid::Uuid;

use super::{Api, READ};
use crate::avatar::{Avatars, Source};
use crate::users::UserService;

const SOURCE: HeaderName = HeaderName::from_static("avatar-source");

pub(super) fn routes() -> Routes<Api> {
    Routes::new().authenticated(routes!(avatar))
}

/// The picture of a user: that which the service at `AVATAR_URL` has, or else one that is drawn from the initials.
/// `Avatar-Source` says which: `remote` or `drawn`.
#[utoipa::path(get, path = "/api/users/{id}/avatar", tag = "users", params(("id" = Uuid, Path)),
    responses((status = 200, description = "An image", content_type = "image/*"), (status = 404)))]
async fn avatar(
    State(users): State<UserService>,
    State(avatars): State<Avatars>,
    caller: Caller,
    Path(id): Path<Uuid>,
) -> Result<Response, Problem> {
    caller.must_own(&id.to_string(), READ)?;
    let user = users.get(&id.to_string()).await?;
    let avatar = avatars.of(&user.id, &user.name).await;
    // A drawn one may stand for one that is away for a moment.
    let kept = match avatar.source {
        Source::Remote => "private, max-age=300",
        Source::Drawn => "private, max-age=30",
    };
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static(avatar.kind)),
        (header::CACHE_CONTROL, HeaderValue::from_static(kept)),
        // Opened by itself, an image runs nothing, whatever is in it.
        (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'none'; sandbox")),
        (SOURCE, HeaderValue::from_static(avatar.source.as_str())),
    ];
    Ok((headers, avatar.bytes).into_response())
}
