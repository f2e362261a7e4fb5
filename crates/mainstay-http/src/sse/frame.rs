//! The format of an event stream: <https://html.spec.whatwg.org/multipage/server-sent-events.html>.

use std::fmt::Write;
use std::time::Duration;

use bytes::Bytes;
use mainstay_core::event::{EventId, Kind};

/// Told to a client that may have missed something. Without data it would be no event.
const RESET: &str = "event: reset\ndata: {}\n\n";

/// One event.
pub(super) struct Frame<'a> {
    pub(super) id: EventId,
    pub(super) kind: &'a Kind,
    pub(super) data: &'a str,
}

impl Frame<'_> {
    pub(super) fn write(&self) -> Bytes {
        let mut text = String::with_capacity(self.data.len() + 96);
        // Writing to a string does not fail.
        let _ = write!(text, "id: {}\nevent: {}\n", self.id, self.kind);
        for line in lines(self.data) {
            text.push_str("data: ");
            text.push_str(line);
            text.push('\n');
        }
        text.push('\n');
        text.into()
    }
}

/// A client ends a line at each of these.
fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.split("\r\n").flat_map(|lines| lines.split(['\n', '\r']))
}

/// The first bytes, which open the stream.
pub(super) fn opening(retry: Duration, has_to_reset: bool) -> Bytes {
    let reset = if has_to_reset { RESET } else { "" };
    format!("retry: {}\n\n{reset}", retry.as_millis()).into()
}

pub(super) fn reset() -> Bytes {
    Bytes::from_static(RESET.as_bytes())
}

/// A comment, and the client's place if it is further than what it was shown.
pub(super) fn heartbeat(place: Option<EventId>) -> Bytes {
    place.map_or_else(|| Bytes::from_static(b":\n\n"), |id| format!(":\nid: {id}\n\n").into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_written_as_the_standard_says() {
        let id = "0190163d-8694-739b-aea5-966c26f8ad91".parse().unwrap();
        let kind = Kind::new("user.created").unwrap();
        let written = |data| Frame { id, kind: &kind, data }.write();
        let head = "id: 0190163d-8694-739b-aea5-966c26f8ad91\nevent: user.created\n";
        for (data, expected) in [
            ("{}", "data: {}\n\n"),
            ("", "data: \n\n"),
            ("a\nb\r\nc\rid: 7", "data: a\ndata: b\ndata: c\ndata: id: 7\n\n"),
            ("\r\n\r", "data: \ndata: \ndata: \n\n"),
        ] {
            assert_eq!(written(data), format!("{head}{expected}"), "{data:?}");
        }
    }
}
