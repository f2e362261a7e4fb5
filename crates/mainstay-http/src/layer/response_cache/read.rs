//! A GET or HEAD request's way through the layer.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use mainstay_core::cache::Policy;
use tower::ServiceExt;

use super::control::Directives;
use super::kept::Kept;
use super::load::{self, Call, Fetched, Question};
use super::plan::{self, Plan};
use super::rule::{self, ResponseTarget};
use super::validators::answer_condition;
use super::{Gate, Handler};
use crate::Problem;

const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");
const HIT: &str = "Mainstay; hit";
const STORED: &str = "Mainstay; fwd=miss; stored";
const MISS: &str = "Mainstay; fwd=miss";

pub(super) async fn answer<S: Handler>(gate: Arc<Gate>, inner: S, request: Request) -> Response {
    let wish = Directives::of(request.headers());
    let (parts, body) = request.into_parts();
    let uri = rule::original_uri(&parts);
    let request = Request::from_parts(parts, body);
    let plan = match Plan::of(&gate.rule, &request, &uri, &wish) {
        Ok(plan) => plan,
        Err(_) if wish.only_if_cached => return said(not_cached(), plan::REQUEST),
        Err(why) => {
            let Ok(response) = inner.oneshot(request).await;
            return said(response, why);
        }
    };
    let (mut parts, _) = request.into_parts();
    let params = if gate.rule.wants_params() { rule::path_params(&mut parts).await } else { Vec::new() };
    let tags = gate.rule.tags(&ResponseTarget::new(&uri, &params));
    let policy = tags.into_iter().fold(gate.rule.policy.clone(), Policy::tag);
    let visit = Visit { gate, call: Arc::new(Call { inner, request: parts }), plan, policy, wish };
    visit.answer().await
}

/// A request that may be answered from the cache.
struct Visit<S> {
    gate: Arc<Gate>,
    call: Arc<Call<S>>,
    plan: Plan,
    policy: Policy,
    wish: Directives,
}

impl<S: Handler> Visit<S> {
    async fn answer(self) -> Response {
        let head = self.call.request.method == Method::HEAD;
        let mut fetched = self.look(&self.plan.key, head).await;
        // An answer to another's headers: ours has a key of its own, made of the headers that matter.
        if let Fetched::Kept { kept, fresh: false } = &fetched
            && !kept.answers(self.headers())
        {
            let key = format!("{}#{}", self.plan.key, kept.selection(self.headers()));
            fetched = self.look(&key, head).await;
        }
        match fetched {
            Fetched::Kept { kept, fresh }
                if kept.answers(self.headers()) && (fresh || self.is_wanted(&kept)) =>
            {
                self.kept(&kept, fresh)
            }
            Fetched::Own(response) => said(answer_condition(self.headers(), response), MISS),
            Fetched::Failure(response) => said(response, MISS),
            Fetched::Kept { .. } | Fetched::Nothing if self.wish.only_if_cached => said(not_cached(), MISS),
            Fetched::Kept { .. } | Fetched::Nothing => said(self.call.answer().await, MISS),
        }
    }

    /// A HEAD request cannot make what GET requests get, and `only-if-cached` makes nothing.
    async fn look(&self, key: &str, head: bool) -> Fetched {
        if head || self.wish.only_if_cached {
            let kept = load::peek(&self.gate.cache, key).await;
            return kept.map_or(Fetched::Nothing, |kept| Fetched::Kept { kept, fresh: false });
        }
        let (policy, audience) = (self.policy.clone(), self.plan.audience);
        load::fetch(&self.gate, &self.call, Question { key, policy, audience }).await
    }

    fn headers(&self) -> &HeaderMap {
        &self.call.request.headers
    }

    /// Whether it is young enough for the client.
    fn is_wanted(&self, kept: &Kept) -> bool {
        self.wish.max_age.is_none_or(|at_most| kept.age(self.gate.clock.wall()) <= at_most)
    }

    fn kept(&self, kept: &Kept, fresh: bool) -> Response {
        let mut response = kept.response();
        if !fresh {
            let age = kept.age(self.gate.clock.wall());
            response.headers_mut().insert(header::AGE, HeaderValue::from(age.as_secs()));
        }
        let response = answer_condition(self.headers(), response);
        let response = said(response, if fresh { STORED } else { HIT });
        if self.call.request.method == Method::HEAD { response.map(|_| Body::empty()) } else { response }
    }
}

/// Says in `Cache-Status` (RFC 9211), after what those behind us said, what became of the request here.
fn said(mut response: Response, what: &'static str) -> Response {
    response.headers_mut().append(CACHE_STATUS, HeaderValue::from_static(what));
    response
}

fn not_cached() -> Response {
    Problem::new(StatusCode::GATEWAY_TIMEOUT, "not-cached", "The answer is not in the cache")
        .detail("The request allows no other answer (only-if-cached).")
        .into_response()
}
