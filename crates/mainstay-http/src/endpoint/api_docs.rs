use std::hash::{DefaultHasher, Hash, Hasher};

use axum::Router;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, header};
use utoipa::openapi::OpenApi;

use crate::{ETag, not_modified};

/// The description is the same for everybody and changes with the binary only: any cache may keep it for
/// a while.
pub(super) const PUBLIC: HeaderValue = HeaderValue::from_static("public, max-age=300");

/// `/openapi.json`, and with the feature `docs` a page at `/docs` that reads it without the network.
pub fn api_docs(api: &OpenApi) -> Router {
    let json = serde_json::to_vec(api).expect("an OpenAPI document is plain data");
    let json = Bytes::from(json);
    let mut hasher = DefaultHasher::new();
    json.hash(&mut hasher);
    let tag = ETag::new(format_args!("{:016x}", hasher.finish()));
    let document = get(async move |headers: HeaderMap| answer(&headers, json, &tag));
    let routes = Router::new().route("/openapi.json", document);
    #[cfg(feature = "docs")]
    let routes = routes.merge(super::docs_page::docs_page());
    routes
}

fn answer(headers: &HeaderMap, json: Bytes, tag: &ETag) -> Response {
    if tag.is_known_to(headers) {
        return not_modified(tag);
    }
    let content_type = (header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    ([content_type, (header::CACHE_CONTROL, PUBLIC), (header::ETAG, tag.header())], json).into_response()
}
