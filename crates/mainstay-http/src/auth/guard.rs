//! What stands before a route.

use std::sync::{Arc, OnceLock};

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::HeaderMap;
use mainstay_auth::{Authenticate, Principal, Refused};

use super::Rule;
use super::token::bearer;
use crate::Problem;
use crate::layer::CALLER;

/// Who recognises the callers of some routes: known once the routes are served.
pub(super) type Gate = Arc<OnceLock<Arc<dyn Authenticate>>>;

/// Lets pass whom the rule lets pass, before anything of the request is read.
pub(super) async fn guard(
    State((gate, rule)): State<(Gate, Rule)>,
    mut request: Request,
    next: Next,
) -> Response {
    let authenticate = gate.get().map(|authenticate| &**authenticate);
    match recognise(authenticate, request.headers()).await.and_then(|caller| permit(rule, caller)) {
        Ok(caller) => {
            tracing::Span::current().record(CALLER, caller.subject());
            request.extensions_mut().insert(caller);
            next.run(request).await
        }
        Err(problem) => problem.into_response(),
    }
}

fn permit(rule: Rule, caller: Principal) -> Result<Principal, Problem> {
    let may = match rule {
        Rule::Public | Rule::Authenticated => true,
        Rule::Role(role) => caller.has_role(role),
        Rule::Permission(permission) => caller.may(permission),
    };
    if may { Ok(caller) } else { Err(Problem::forbidden()) }
}

/// Who sends these headers.
///
/// # Errors
/// `401` for whatever is wrong with the token, `503` where it cannot be judged now.
pub(crate) async fn recognise(
    authenticate: Option<&dyn Authenticate>,
    headers: &HeaderMap,
) -> Result<Principal, Problem> {
    let (Some(authenticate), Some(token)) = (authenticate, bearer(headers)) else {
        return Err(Problem::unauthorized());
    };
    authenticate.authenticate(token).await.map_err(|refused| match refused {
        Refused::Unavailable => Problem::unavailable(1),
        _ => Problem::unauthorized(),
    })
}
