//! Calling the handler for a key, once for all who wait.

use std::sync::{Arc, Mutex, PoisonError};

use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use http::request::Parts;
use http::{HeaderMap, header};
use mainstay_core::cache::{Cache, Error, Lifetime, Policy};
use tower::ServiceExt;
use tracing::{Instrument, Span};

use super::body::{self, Read};
use super::control::Directives;
use super::kept::Kept;
use super::plan::Audience;
use super::{Gate, Handler, storable, validators};
use crate::Problem;

/// A request without a body, and who handles it: can be made any number of times.
#[derive(Debug)]
pub(super) struct Call<S> {
    pub(super) inner: S,
    pub(super) request: Parts,
}

impl<S: Handler> Call<S> {
    /// The handler's answer to this client.
    pub(super) async fn answer(&self) -> Response {
        self.make(self.request.clone()).await
    }

    async fn make(&self, parts: Parts) -> Response {
        let Ok(response) = self.inner.clone().oneshot(Request::from_parts(parts, Body::empty())).await;
        response
    }
}

/// What a look into the cache came to.
pub(super) enum Fetched {
    /// An answer of the cache, or one for the cache.
    Kept {
        kept: Arc<Kept>,
        /// Made for this request.
        fresh: bool,
    },
    /// The handler's answer to this very request, which is not for the cache.
    Own(Response),
    /// The failure of a handler that others waited for, too.
    Failure(Response),
    /// No answer, and the handler was not called for this request.
    Nothing,
}

/// Where a load leaves what is not for the cache, for the request that began it.
#[derive(Debug, Default)]
struct Slot(Mutex<State>);

#[derive(Debug, Default)]
enum State {
    #[default]
    Idle,
    Begun,
    Kept(Arc<Kept>),
    Own(Response),
}

impl Slot {
    fn put(&self, state: State) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = state;
    }

    fn take(&self) -> State {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// One question to the cache.
#[derive(Debug)]
pub(super) struct Question<'a> {
    pub(super) key: &'a str,
    pub(super) policy: Policy,
    pub(super) audience: Audience,
}

pub(super) async fn fetch<S: Handler>(
    gate: &Arc<Gate>,
    call: &Arc<Call<S>>,
    question: Question<'_>,
) -> Fetched {
    let Question { key, policy, audience } = question;
    let slot = Arc::new(Slot::default());
    let work = load(Arc::clone(gate), Arc::clone(call), Arc::clone(&slot), audience);
    // A load is a task of the cache; what it logs belongs to the request that began it.
    let work = work.instrument(Span::current());
    let found = gate.cache.get_or_load_expiring::<Arc<Kept>, _, _, _>(key, policy, move || work).await;
    match (found, slot.take()) {
        (Ok(Some(kept)), State::Kept(made)) => {
            let fresh = Arc::ptr_eq(&kept, &made);
            Fetched::Kept { kept, fresh }
        }
        (Ok(Some(kept)), _) => Fetched::Kept { kept, fresh: false },
        (_, State::Own(response)) => Fetched::Own(response),
        // It was answered, and then the cache failed.
        (_, State::Kept(kept)) => Fetched::Kept { kept, fresh: true },
        (Err(error), State::Begun) => Fetched::Failure(failure(&error)),
        (Err(error), State::Idle) => {
            let failed = error.load_error::<Failed>().and_then(|failed| failed.0.as_ref());
            if let (None, Error::Policy { .. } | Error::Key(_)) = (failed, &error) {
                tracing::warn!(%error, "answered without the cache");
            }
            let told = failed.filter(|failed| failed.kept.answers(&call.request.headers));
            told.map_or(Fetched::Nothing, |failed| Fetched::Failure(failed.response()))
        }
        (Ok(None), State::Idle | State::Begun) => Fetched::Nothing,
    }
}

/// What the cache has, without calling the handler.
pub(super) async fn peek(cache: &Cache, key: &str) -> Option<Arc<Kept>> {
    cache.get::<Arc<Kept>>(key).await.ok().flatten()
}

/// Of a load that this request began and that gave no answer.
fn failure(error: &Error) -> Response {
    use axum::response::IntoResponse;
    match error {
        Error::LoadTimeout { .. } => Problem::timeout().into_response(),
        Error::Stopped => Problem::unavailable(1).into_response(),
        error => Problem::internal(error).into_response(),
    }
}

async fn load<S: Handler>(
    gate: Arc<Gate>,
    call: Arc<Call<S>>,
    slot: Arc<Slot>,
    audience: Audience,
) -> Result<Option<(Arc<Kept>, Lifetime)>, Failed> {
    slot.put(State::Begun);
    let mut request = call.request.clone();
    validators::remove_conditions(&mut request.headers);
    let (answer, body) = call.make(request).await.into_parts();
    let now = gate.clock.wall();
    let failed = answer.status.is_server_error();
    let vary = storable::vary(&gate.rule, &answer.headers);
    let lifetime = storable::lifetime(&gate.rule, audience, &answer, now);
    let for_others = lifetime.is_some() || (failed && may_be_told(&answer.headers, audience));
    let Some(vary) = vary.filter(|_| for_others) else {
        slot.put(State::Own(Response::from_parts(answer, body)));
        return if failed { Err(Failed(None)) } else { Ok(None) };
    };
    let body = match body::read(&answer.headers, body, gate.rule.max_body).await {
        Read::Whole(body) => body,
        Read::Unread(body) => {
            slot.put(State::Own(Response::from_parts(answer, body)));
            return if failed { Err(Failed(None)) } else { Ok(None) };
        }
    };
    let kept = Kept::new(&answer, body.clone(), vary, &call.request.headers, now);
    let Some(lifetime) = lifetime else {
        let failure = Failure { kept, problem: answer.extensions.get().cloned() };
        slot.put(State::Own(Response::from_parts(answer, Body::from(body))));
        return Err(Failed(Some(failure)));
    };
    let kept = Arc::new(kept);
    slot.put(State::Kept(Arc::clone(&kept)));
    Ok(Some((kept, lifetime)))
}

/// Whether those who waited for a failure may read it: not, if it may speak of the one who asked.
fn may_be_told(headers: &HeaderMap, audience: Audience) -> bool {
    let private = Directives::of(headers).private || headers.contains_key(header::SET_COOKIE);
    audience == Audience::One || (audience == Audience::Everyone && !private)
}

/// The handler answered with an error of the server, which is not kept.
#[derive(Debug, thiserror::Error)]
#[error("the handler failed")]
struct Failed(Option<Failure>);

#[derive(Debug)]
struct Failure {
    kept: Kept,
    /// So that each reads their own request id in it.
    problem: Option<Problem>,
}

impl Failure {
    fn response(&self) -> Response {
        let mut response = self.kept.response();
        if let Some(problem) = &self.problem {
            response.extensions_mut().insert(problem.clone());
        }
        response
    }
}
