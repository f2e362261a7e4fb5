//! `/api/users/events`: what happens to users, as it happens.

use axum::extract::State;
use axum::response::Response;
use mainstay::axum;
use mainstay::event::Events;
use mainstay::http::{Caller, EventStreams, LastEventId, Problem, Routes};
use mainstay::openapi::{routes, utoipa};

use super::{Api, READ};

pub(super) fn routes() -> Routes<Api> {
    Routes::new().permission(READ, routes!(events))
}

/// Follow what happens to users, as server-sent events: ids, versions and names of changed fields, each as a
/// CloudEvent in JSON. Whoever comes back with `Last-Event-ID` goes on there; an event `reset` says that something
/// before is not known any more.
#[utoipa::path(get, path = "/api/users/events", tag = "users",
    params(("Last-Event-ID" = Option<String>, Header, description = "The id of the last event that was seen")),
    responses((status = 200, description = "The stream, until the token expires", content_type = "text/event-stream"),
        (status = 503, description = "There are too many streams, or the store of events is away")))]
async fn events(
    State(streams): State<EventStreams>,
    State(events): State<Events>,
    caller: Caller,
    last: LastEventId,
) -> Result<Response, Problem> {
    streams.until(caller.expires()).feed(&events, "user.*", last, |event| Some(event.to_cloud_event())).await
}
