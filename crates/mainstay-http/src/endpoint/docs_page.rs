use axum::Router;
use axum::middleware::map_response;
use axum::response::Response;
use http::{HeaderValue, header};
use utoipa_swagger_ui::{Config, SwaggerUi};

use super::api_docs::PUBLIC;

/// Swagger UI from the binary itself. It is a page of scripts and inline styles, so it brings its own
/// content policy; nothing is loaded from elsewhere.
pub(super) fn docs_page() -> Router {
    let page: Router = SwaggerUi::new("/docs").config(Config::from("/openapi.json")).into();
    page.layer(map_response(async |mut response: Response| {
        if response.status().is_success() {
            response.headers_mut().insert(header::CACHE_CONTROL, PUBLIC);
        }
        response.headers_mut().insert(
            header::CONTENT_SECURITY_POLICY,
            HeaderValue::from_static(
                "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; base-uri 'none'; \
                 form-action 'none'; frame-ancestors 'none'",
            ),
        );
        response
    }))
}
