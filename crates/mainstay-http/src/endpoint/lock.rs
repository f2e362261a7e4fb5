use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use mainstay_core::lock::{self, Locks, Release, Token};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Distributed;
use super::name::{self, Name};
use super::store;
use crate::{FieldError, Json, Problem, Query};

/// How long a request for a lock may wait in all: well before clients and proxies lose patience.
const LONGEST_WAIT: Duration = Duration::from_secs(10);
const MOST_RETRIES: u32 = 10;

/// How a lock is asked for. Everything has a default; times are whole milliseconds.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Terms {
    /// How long it is held, unless released before: 10 to 86,400,000. Default: that of the service, 30,000.
    ttl: Option<u64>,
    /// How often to try again while another holds it: at most 10.
    #[schema(default = 3)]
    retry_attempts: u32,
    /// The wait before the first of these, which then doubles: 1 to 10,000. All waits together end after 10 s.
    #[schema(default = 200)]
    retry_delay: u64,
}

impl Default for Terms {
    fn default() -> Self {
        Self { ttl: None, retry_attempts: 3, retry_delay: 200 }
    }
}

/// A lock that is now held.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Held {
    /// The lock's name.
    key: String,
    /// Proves that it is yours: release it with this.
    token: String,
    /// Grows with every holder: a resource that remembers the highest refuses whoever woke up too late. A JSON
    /// number is exact up to 2⁵³, which fences (microseconds) reach in the year 2255.
    fence: u64,
    /// For how many milliseconds.
    ttl: u64,
}

/// What releases a lock.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Proof {
    /// What the holder was given.
    token: Option<String>,
}

/// Holds a lock until it is released or its time is over. It is not renewed.
#[utoipa::path(post, path = "/distributed/lock/{key}", tag = "mainstay", params(("key" = String, Path)),
    request_body = Option<Terms>, responses(
        (status = 200, description = "Held", body = Held), (status = 401),
        (status = 409, description = "Another holds it; `Retry-After` where known"), (status = 422),
        (status = 503, description = "The store is away, nothing is held"),
        (status = 504, description = "The outcome is unknown; what may be held ends with its ttl")))]
pub(super) async fn acquire(
    State(state): State<Arc<Distributed>>,
    Name(key): Name,
    terms: Option<Json<Terms>>,
) -> Result<Json<Held>, Problem> {
    let Json(terms) = terms.unwrap_or_default();
    hold(&state.locks, key, &terms).await.map(Json)
}

async fn hold(locks: &Locks, key: String, terms: &Terms) -> Result<Held, Problem> {
    let delay = Duration::from_millis(terms.retry_delay);
    let errors = [
        (terms.retry_attempts > MOST_RETRIES).then(|| range("retryAttempts", "must be at most 10")),
        (delay.is_zero() || delay > LONGEST_WAIT).then(|| range("retryDelay", "must be from 1 to 10000")),
    ];
    let mut errors = errors.into_iter().flatten().peekable();
    if errors.peek().is_some() {
        return Err(Problem::validation(errors));
    }
    let mut request = locks.lock(key).retry(terms.retry_attempts, delay);
    if let Some(ttl) = terms.ttl {
        request = request.ttl(Duration::from_millis(ttl));
    }
    let lease = match tokio::time::timeout(LONGEST_WAIT, request.lease()).await {
        Ok(answer) => answer.map_err(|error| refuse(&error))?,
        Err(_) => return Err(held(None)),
    };
    let ttl = u64::try_from(lease.ttl.as_millis()).unwrap_or(u64::MAX);
    Ok(Held { key: lease.key, token: lease.token.to_string(), fence: lease.fence.get(), ttl })
}

/// Releases a lock. The token comes in the body, or as `?token=` where a proxy drops bodies of `DELETE`.
#[utoipa::path(delete, path = "/distributed/lock/{key}", tag = "mainstay",
    params(("key" = String, Path), ("token" = Option<String>, Query)), request_body = Option<Proof>, responses(
        (status = 200, description = "`{key, released: true}`"), (status = 401),
        (status = 409, description = "The token does not hold this lock: absent, wrong, or its time is over"),
        (status = 503), (status = 504, description = "The outcome is unknown; it ends with its ttl")))]
pub(super) async fn release(
    State(state): State<Arc<Distributed>>,
    Name(key): Name,
    Query(query): Query<Proof>,
    body: Option<Json<Proof>>,
) -> Result<Response, Problem> {
    let token = body.and_then(|Json(proof)| proof.token).or(query.token);
    let Some(token) = token.and_then(|token| token.parse::<Token>().ok()) else { return Err(not_held()) };
    match state.locks.release(&key, &token).await.map_err(|error| refuse(&error))? {
        Release::Released => Ok(Json(serde_json::json!({"key": key, "released": true})).into_response()),
        Release::NotHeld => Err(not_held()),
    }
}

fn range(field: &str, message: &str) -> FieldError {
    FieldError::new(field, "range", message)
}

fn refuse(error: &lock::Error) -> Problem {
    match error {
        lock::Error::Key(invalid) => name::invalid(*invalid),
        lock::Error::Option { field, reason } => Problem::validation([range(field, reason)]),
        lock::Error::Contended { retry_after } => held(*retry_after),
        lock::Error::Unknown(_) => store::outcome_unknown(error),
        lock::Error::Unavailable(_) | lock::Error::Stopped => store::away(error),
        _ => Problem::internal(error),
    }
}

/// 409: another holds it, for at most `left` if it does not renew.
fn held(left: Option<Duration>) -> Problem {
    let problem = Problem::new(StatusCode::CONFLICT, "lock-held", "Another holds this lock");
    match left {
        Some(left) => {
            let seconds = left.as_secs().saturating_add(u64::from(left.subsec_nanos() > 0));
            problem.header(header::RETRY_AFTER, HeaderValue::from(seconds))
        }
        None => problem,
    }
}

/// 409. All reasons read alike: none of them tells anything about the one who does hold it.
fn not_held() -> Problem {
    Problem::new(StatusCode::CONFLICT, "lock-not-held", "This token does not hold this lock")
}

#[cfg(test)]
mod tests {
    use super::*;
    use mainstay_core::metrics::Metrics;
    use mainstay_testkit::TestClock;
    use tokio::time::Instant;

    #[tokio::test(start_paused = true)]
    async fn all_waits_together_end_after_ten_seconds() {
        let locks = Locks::in_memory(Default::default(), &Metrics::new(), TestClock::new().clock());
        let terms = |attempts| Terms { ttl: Some(60_000), retry_attempts: attempts, retry_delay: 10_000 };
        let held = hold(&locks, "a".to_owned(), &terms(0)).await.unwrap();
        let (began, refused) = (Instant::now(), hold(&locks, "a".to_owned(), &terms(10)).await);
        assert_eq!(refused.unwrap_err().status(), StatusCode::CONFLICT);
        assert_eq!(began.elapsed(), LONGEST_WAIT);
        let token = held.token.parse().unwrap();
        assert_eq!(locks.release("a", &token).await.unwrap(), Release::Released);
        hold(&locks, "a".to_owned(), &terms(0)).await.expect("nobody waits in line any more");
    }
}
