use axum::Router;
use axum::routing::get;
use bytes::Bytes;
use http::{HeaderValue, header};
use utoipa::openapi::OpenApi;

/// `/openapi.json`, and with the feature `docs` a page at `/docs` that reads it without the network.
pub fn api_docs(api: &OpenApi) -> Router {
    let json = serde_json::to_vec(api).expect("an OpenAPI document is plain data");
    let json = Bytes::from(json);
    let document =
        get(async move || ([(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))], json));
    let routes = Router::new().route("/openapi.json", document);
    #[cfg(feature = "docs")]
    let routes = routes.merge(super::docs_page::docs_page());
    routes
}
