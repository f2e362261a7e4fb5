use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};

/// Headers that take abilities away from whoever embeds or sniffs an answer. A handler that sets one
/// itself (a page that needs scripts, say) keeps its own.
const DEFAULTS: [(HeaderName, HeaderValue); 4] = [
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
    (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(
            "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        ),
    ),
];

pub(super) fn add_defaults(status: StatusCode, headers: &mut HeaderMap) {
    for (name, value) in DEFAULTS {
        headers.entry(name).or_insert(value);
    }
    // Some errors may be kept by any cache if nobody says otherwise (RFC 9111, section 4.2.2): the next one who
    // asks may be let in, and it has the id of somebody's request.
    if status.is_client_error() || status.is_server_error() {
        headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    }
}

/// Browsers come by TLS only from now on (RFC 6797), where they came by it and somebody wants them to. Other names
/// of the domain are for whoever owns the domain to bind.
pub(super) fn bind_to_tls(headers: &mut HeaderMap, max_age: Duration) {
    if let Ok(value) = HeaderValue::try_from(format!("max-age={}", max_age.as_secs())) {
        headers.entry(header::STRICT_TRANSPORT_SECURITY).or_insert(value);
    }
}
