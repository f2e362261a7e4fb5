use axum::Router;
use axum::response::IntoResponse;
use axum::routing::get;
use bytes::Bytes;
use http::{HeaderValue, header};
use mainstay_auth::token::Jwks;

/// `/.well-known/jwks.json`: the public keys by which others check the tokens of this service (RFC 7517). Open to all.
pub fn jwks(keys: &Jwks) -> Router {
    let body = Bytes::from(keys.document.to_string());
    let kept = HeaderValue::from_str(&keys.cache_control()).expect("it is a number of seconds");
    let answer = async move || {
        let kind = HeaderValue::from_static("application/jwk-set+json");
        ([(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, kept)], body).into_response()
    };
    Router::new().route("/.well-known/jwks.json", get(answer))
}
