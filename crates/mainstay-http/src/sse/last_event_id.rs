use std::convert::Infallible;

use axum::extract::FromRequestParts;
use http::request::Parts;
use mainstay_core::event::EventId;

/// What a client of an event stream has seen already, as its `Last-Event-ID` says. Any text is taken: an id of
/// elsewhere means that the client does not know what it has missed. Default: nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LastEventId(pub(super) Seen);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Seen {
    #[default]
    Nothing,
    Event(EventId),
    /// Something that is no event of this system.
    Unknown,
}

impl<S: Send + Sync> FromRequestParts<S> for LastEventId {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let Some(value) = parts.headers.get("last-event-id").filter(|value| !value.is_empty()) else {
            return Ok(Self(Seen::Nothing));
        };
        let id = value.to_str().ok().and_then(|text| text.parse().ok());
        Ok(Self(id.map_or(Seen::Unknown, Seen::Event)))
    }
}
