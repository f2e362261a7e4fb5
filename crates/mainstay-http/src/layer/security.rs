use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, header};

/// Headers that take abilities away from whoever embeds or sniffs an answer. A handler that sets one
/// itself (a page that needs scripts, say) keeps its own.
const DEFAULTS: [(HeaderName, HeaderValue); 4] = [
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
    (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'")),
];

pub(super) fn add_defaults(headers: &mut HeaderMap) {
    for (name, value) in DEFAULTS {
        headers.entry(name).or_insert(value);
    }
}

/// Browsers come by TLS only from now on (RFC 6797), where they came by it and somebody wants them to. Other names
/// of the domain are for whoever owns the domain to bind.
pub(super) fn bind_to_tls(headers: &mut HeaderMap, max_age: Duration) {
    if let Ok(value) = HeaderValue::try_from(format!("max-age={}", max_age.as_secs())) {
        headers.entry(header::STRICT_TRANSPORT_SECURITY).or_insert(value);
    }
}
