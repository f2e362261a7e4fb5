use std::sync::Arc;

use axum::extract::State;
use mainstay_core::breaker::{Breaker, Mode, Snapshot};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Distributed;
use super::name::Name;
use crate::{FieldError, Json, Problem};

/// How a circuit breaker stands.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Standing {
    /// Its name.
    name: String,
    /// `closed`, `open` or `half_open`.
    state: &'static str,
    /// Who decides.
    mode: &'static str,
    /// Calls in the window; while it is not closed, those that opened it.
    calls: u64,
    /// Failures among them.
    failures: u64,
    /// Slow calls among them.
    slow: u64,
    /// Calls refused since the start.
    not_permitted: u64,
    /// When it opened last, in RFC 3339.
    opened_at: Option<String>,
    /// Why it opened last.
    last_opening: Option<String>,
    /// For how many milliseconds it refuses calls from now on.
    retry_after: u64,
}

impl From<Snapshot> for Standing {
    fn from(snapshot: Snapshot) -> Self {
        Self {
            name: snapshot.name.to_string(),
            state: snapshot.state.as_str(),
            mode: snapshot.mode.as_str(),
            calls: snapshot.calls,
            failures: snapshot.failures,
            slow: snapshot.slow,
            not_permitted: snapshot.not_permitted,
            opened_at: snapshot.opened_at.map(|at| at.to_string()),
            last_opening: snapshot.last_opening,
            retry_after: u64::try_from(snapshot.retry_after.as_millis()).unwrap_or(u64::MAX),
        }
    }
}

/// All breakers of an app, for `/distributed/info`.
pub(super) fn all(state: &Distributed) -> Vec<Standing> {
    state.breakers.all().iter().map(|breaker| breaker.snapshot().into()).collect()
}

/// Who is to decide about calls, until somebody says otherwise or the process ends.
#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum Decider {
    /// The breaker.
    Automatic,
    /// Nobody: all calls pass, and it tells what it would do.
    Observe,
    /// No call passes.
    ForcedOpen,
    /// All calls pass, uncounted.
    Disabled,
}

/// What to do with a breaker.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Force {
    /// Who is to decide. Absent, it stays as it is.
    mode: Option<Decider>,
    /// Whether it is to begin again, closed and with an empty window.
    #[serde(default)]
    reset: bool,
}

/// Forces the state of a circuit breaker of this instance, or lets it decide again.
#[utoipa::path(post, path = "/distributed/breakers/{name}", tag = "mainstay", params(("name" = String, Path)),
    request_body = Force, responses(
        (status = 200, description = "How it stands now", body = Standing), (status = 401),
        (status = 404, description = "This instance has no breaker of this name"), (status = 422)))]
pub(super) async fn force(
    State(state): State<Arc<Distributed>>,
    Name(name): Name,
    Json(force): Json<Force>,
) -> Result<Json<Standing>, Problem> {
    let breaker = state.breakers.get(&name).ok_or_else(|| absent(&state))?;
    if force.mode.is_none() && !force.reset {
        return Err(Problem::validation([FieldError::new("mode", "required", "needs a mode, or reset")]));
    }
    apply(&breaker, &force);
    Ok(Json(breaker.snapshot().into()))
}

fn apply(breaker: &Breaker, force: &Force) {
    if let Some(mode) = force.mode {
        breaker.force(match mode {
            Decider::Automatic => Mode::Automatic,
            Decider::Observe => Mode::Observe,
            Decider::ForcedOpen => Mode::ForcedOpen,
            Decider::Disabled => Mode::Disabled,
        });
    }
    if force.reset {
        breaker.reset();
    }
    tracing::warn!(breaker = breaker.name(), mode = %breaker.mode(), reset = force.reset, "breaker was set by hand");
}

fn absent(state: &Distributed) -> Problem {
    let names: Vec<_> = state.breakers.all().iter().map(|breaker| breaker.name().to_owned()).collect();
    let names = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
    Problem::not_found(format!("This instance has no breaker of this name. Its breakers: {names}."))
}
