use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use mainstay_core::cache::{self, Ttl};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::Distributed;
use super::name::{self, Name};
use super::store;
use crate::{FieldError, Json, Problem};

const DEFAULT_TTL: u64 = 3_600_000;

/// What to keep, and for how long.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Entry {
    /// Any JSON.
    #[serde(default, deserialize_with = "even_null")]
    #[schema(value_type = Value)]
    value: Option<Value>,
    /// Whole milliseconds.
    #[schema(default = 3_600_000)]
    ttl: Option<u64>,
}

/// `null` is a value, unlike none.
fn even_null<'de, D: Deserializer<'de>>(value: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(value).map(Some)
}

/// A value that is cached.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Cached {
    /// Its name.
    key: String,
    /// Any JSON.
    value: Value,
}

/// The value of a key.
#[utoipa::path(get, path = "/distributed/cache/{key}", tag = "mainstay", params(("key" = String, Path)), responses(
    (status = 200, description = "What is cached", body = Cached), (status = 401),
    (status = 404, description = "Nothing is"), (status = 422), (status = 503)))]
pub(super) async fn get(
    State(state): State<Arc<Distributed>>,
    Name(key): Name,
) -> Result<Json<Cached>, Problem> {
    let value = state.cache.get::<Value>(&key).await.map_err(|error| refuse(&error))?;
    let value = value.ok_or_else(|| Problem::not_found("Nothing is cached under this key."))?;
    Ok(Json(Cached { key, value }))
}

/// Keeps a value under a key.
#[utoipa::path(post, path = "/distributed/cache/{key}", tag = "mainstay", params(("key" = String, Path)),
    request_body = Entry, responses(
        (status = 201, description = "`{key, ttl}`"), (status = 401), (status = 413), (status = 422),
        (status = 503), (status = 504, description = "The outcome is unknown")))]
pub(super) async fn set(
    State(state): State<Arc<Distributed>>,
    Name(key): Name,
    Json(entry): Json<Entry>,
) -> Result<Response, Problem> {
    let ttl = entry.ttl.unwrap_or(DEFAULT_TTL);
    let required =
        || Problem::validation([FieldError::new("value", "required", "must be given; `null` is a value")]);
    let value = entry.value.ok_or_else(required)?;
    state.cache.set(&key, &value, Ttl::millis(ttl)).await.map_err(|error| refuse(&error))?;
    Ok((StatusCode::CREATED, Json(json!({"key": key, "ttl": ttl}))).into_response())
}

/// Forgets a value, and what is being loaded for it.
#[utoipa::path(delete, path = "/distributed/cache/{key}", tag = "mainstay", params(("key" = String, Path)),
    responses((status = 200, description = "`{key, deleted}`: whether there was a value"), (status = 401),
        (status = 422), (status = 503), (status = 504, description = "The outcome is unknown")))]
pub(super) async fn delete(
    State(state): State<Arc<Distributed>>,
    Name(key): Name,
) -> Result<Response, Problem> {
    let deleted = state.cache.delete(&key).await.map_err(|error| refuse(&error))?;
    Ok(Json(json!({"key": key, "deleted": deleted})).into_response())
}

fn refuse(error: &cache::Error) -> Problem {
    match error {
        cache::Error::Key(invalid) => name::invalid(*invalid),
        cache::Error::Policy { field, reason } => {
            Problem::validation([FieldError::new(*field, "range", *reason)])
        }
        cache::Error::TooLarge { max, .. } => Problem::payload_too_large(*max),
        cache::Error::Unknown(_) => store::outcome_unknown(error),
        cache::Error::Unavailable(_) | cache::Error::Rejected(_) | cache::Error::Stopped => {
            store::away(error)
        }
        _ => Problem::internal(error),
    }
}
