use std::sync::Arc;

use axum::extract::State;
use mainstay_core::event;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::Distributed;
use super::name::Name;
use super::store;
use crate::{FieldError, Json, Problem};

/// An event that was published.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Published {
    /// Its id.
    id: String,
    /// Its type.
    channel: String,
}

/// Publishes an event of the type `channel`. The body, any JSON, is its data; no body is `null`.
#[utoipa::path(post, path = "/distributed/events/{channel}", tag = "mainstay", params(("channel" = String, Path)),
    request_body(content = Option<Value>, content_type = "application/json"), responses(
        (status = 200, description = "Published", body = Published), (status = 401),
        (status = 413), (status = 422, description = "No type of events has this name"),
        (status = 503, description = "The store is away or a queue is full, nothing was published"),
        (status = 504, description = "The outcome is unknown")))]
pub(super) async fn publish(
    State(state): State<Arc<Distributed>>,
    Name(channel): Name,
    data: Option<Json<Value>>,
) -> Result<Json<Published>, Problem> {
    let data = data.map_or(Value::Null, |Json(data)| data);
    let id = state.events.publish(&channel, &data).await.map_err(|error| refuse(&error))?;
    Ok(Json(Published { id: id.to_string(), channel }))
}

fn refuse(error: &event::Error) -> Problem {
    match error {
        event::Error::Kind(invalid) => {
            Problem::validation([FieldError::new("channel", "format", invalid.reason)])
        }
        event::Error::TooLarge { max, .. } => Problem::payload_too_large(*max),
        event::Error::Backpressure => Problem::unavailable(store::AGAIN)
            .detail("Subscribers do not keep up: a queue is full. Nothing was published."),
        event::Error::Unknown { .. } => store::outcome_unknown(error),
        event::Error::Unavailable(_) | event::Error::Stopped => store::away(error),
        _ => Problem::internal(error),
    }
}
