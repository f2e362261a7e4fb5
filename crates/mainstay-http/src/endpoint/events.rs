use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, header};
use mainstay_core::event::{self, DeadLetterId};
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

/// Most dead letters in one answer.
const SHOWN: usize = 100;

/// Where the events of a service are, for [`Distributed`].
#[derive(Clone)]
pub struct EventBus {
    store: &'static str,
    outbox: Option<Arc<dyn Fn() -> Backlog + Send + Sync>>,
}

/// What waits in an outbox.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Backlog {
    /// How many events.
    pub waiting: usize,
    /// For how long the oldest has.
    pub oldest: Option<Duration>,
}

impl EventBus {
    /// Events in `memory`, `sqlite`, `redis`.
    #[must_use]
    pub const fn new(store: &'static str) -> Self {
        Self { store, outbox: None }
    }

    /// Events of transactions go there through an outbox, which is asked each time and must answer at once.
    #[must_use]
    pub fn with_outbox(mut self, backlog: impl Fn() -> Backlog + Send + Sync + 'static) -> Self {
        self.outbox = Some(Arc::new(backlog));
        self
    }
}

impl fmt::Debug for EventBus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventBus").field("store", &self.store).finish_non_exhaustive()
    }
}

/// How the event bus stands.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Standing {
    /// `memory`, `sqlite` or `redis`.
    store: &'static str,
    /// Every queue, of whatever service, that lies there.
    queues: Vec<QueueStanding>,
    /// The dead letters of all queues, at most 100.
    dead_letters: Vec<Letter>,
    /// What waits for the store, where there is an outbox.
    #[serde(skip_serializing_if = "Option::is_none")]
    outbox: Option<Waiting>,
}

/// How a queue stands.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct QueueStanding {
    /// Who shares it.
    group: String,
    /// The types of events it takes.
    pattern: String,
    /// The subscriber whose own it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    instance: Option<String>,
    /// Whether it keeps the order of each subject.
    ordered: bool,
    /// Events nobody has.
    queued: usize,
    /// Events that are being handled.
    pending: usize,
    /// Events that wait for their next attempt.
    delayed: usize,
    /// Dead letters.
    dead: usize,
    /// Dead letters dropped because there were too many.
    dead_dropped: u64,
    /// Milliseconds for which the oldest unfinished event has been in the queue.
    oldest_age: Option<u64>,
}

/// An event nobody could handle.
#[derive(Debug, Serialize, ToSchema)]
struct Letter {
    /// For the redrive; percent-encoded in its path.
    id: String,
    /// What happened.
    #[serde(rename = "type")]
    kind: String,
    /// What it happened to.
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<String>,
    /// How often it was delivered.
    attempts: u32,
    /// Why it was given up.
    cause: String,
    /// When, in RFC 3339.
    at: String,
}

/// What waits in the outbox.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Waiting {
    /// How many events.
    waiting: usize,
    /// Milliseconds for which the oldest has.
    oldest_age: Option<u64>,
}

/// Queues, dead letters and the outbox, asked for in the store.
#[utoipa::path(get, path = "/distributed/events", tag = "mainstay", responses(
    (status = 200, description = "How the event bus stands", body = Standing), (status = 401),
    (status = 503, description = "The store is away")))]
pub(super) async fn standing(State(state): State<Arc<Distributed>>) -> Result<Response, Problem> {
    let away = |error: event::Error| store::away(&error);
    let queues = state.events.stats().await.map_err(away)?;
    let letters = if queues.iter().any(|queue| queue.dead > 0) {
        state.events.dead_letters(SHOWN).await.map_err(away)?
    } else {
        Vec::new()
    };
    let outbox = state.event_bus.outbox.as_ref().map(|outbox| outbox());
    let standing = Standing {
        store: state.event_bus.store,
        queues: queues.into_iter().map(QueueStanding::from).collect(),
        dead_letters: letters.into_iter().map(Letter::from).collect(),
        outbox: outbox
            .map(|outbox| Waiting { waiting: outbox.waiting, oldest_age: outbox.oldest.map(millis) }),
    };
    let no_store = (header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(([no_store], Json(standing)).into_response())
}

impl From<event::QueueStats> for QueueStanding {
    fn from(stats: event::QueueStats) -> Self {
        Self {
            group: stats.queue.group.to_string(),
            pattern: stats.queue.pattern.to_string(),
            instance: stats.queue.instance.map(|instance| instance.to_string()),
            ordered: stats.ordered,
            queued: stats.queued,
            pending: stats.pending,
            delayed: stats.delayed,
            dead: stats.dead,
            dead_dropped: stats.dead_dropped,
            oldest_age: stats.oldest.map(millis),
        }
    }
}

impl From<event::DeadLetter> for Letter {
    fn from(letter: event::DeadLetter) -> Self {
        Self {
            id: letter.id.to_string(),
            kind: letter.event.kind.to_string(),
            subject: letter.event.subject.clone(),
            attempts: letter.attempts,
            cause: letter.cause,
            at: letter.at.to_string(),
        }
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// A dead letter that is delivered again.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Redriven {
    /// Which.
    id: String,
}

/// Has a dead letter delivered again, with all attempts before it. Doing it twice does it once.
#[utoipa::path(post, path = "/distributed/events/dead-letters/{id}/redrive", tag = "mainstay",
    params(("id" = String, Path)), responses(
        (status = 200, description = "It is queued again", body = Redriven), (status = 401),
        (status = 404, description = "There is no such dead letter, or not any more"), (status = 503),
        (status = 504, description = "The outcome is unknown; doing it again is harmless")))]
pub(super) async fn redrive(
    State(state): State<Arc<Distributed>>,
    Name(id): Name,
) -> Result<Json<Redriven>, Problem> {
    let absent = || Problem::not_found("There is no such dead letter, or not any more.");
    let letter: DeadLetterId = id.parse().map_err(|_| absent())?;
    match state.events.redrive(&letter).await.map_err(|error| refuse(&error))? {
        true => Ok(Json(Redriven { id })),
        false => Err(absent()),
    }
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
