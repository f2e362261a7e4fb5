//! An event on its way: the attributes of CloudEvents 1.0 and the data as bytes.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::Kind;
use crate::codec::Codec;

/// Names one event for good: publishing twice under one id is publishing once.
///
/// Made as a UUIDv7 (RFC 9562), so ids sort by the time they were made, to a millisecond.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct EventId(Uuid);

impl EventId {
    /// A new id, made at `time`.
    #[must_use]
    pub fn at(time: Timestamp) -> Self {
        let millis = u64::try_from(time.as_millisecond()).unwrap_or(0);
        Self(uuid::Builder::from_unix_timestamp_millis(millis, &rand::random()).into_uuid())
    }

    /// An id that came from elsewhere.
    #[must_use]
    pub const fn from_uuid(uuid: Uuid) -> Self {
        Self(uuid)
    }

    /// As a UUID.
    #[must_use]
    pub const fn uuid(self) -> Uuid {
        self.0
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for EventId {
    type Err = uuid::Error;

    fn from_str(text: &str) -> Result<Self, uuid::Error> {
        text.parse().map(Self)
    }
}

/// What a store carries. The names in brackets are those of CloudEvents 1.0.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Envelope {
    /// Its name (`id`).
    pub id: EventId,
    /// The service that published it (`source`).
    pub source: Arc<str>,
    /// What happened (`type`).
    pub kind: Kind,
    /// The version of the data's schema (the last part of `dataschema`), from 1.
    pub schema: u32,
    /// What it happened to (`subject`), such as `user/17`.
    pub subject: Option<String>,
    /// When it happened, by the publisher's calendar (`time`).
    pub time: Timestamp,
    /// The format of `data` (`datacontenttype`).
    pub content_type: Cow<'static, str>,
    /// The trace it belongs to (`traceparent`, of the distributed tracing extension).
    pub trace_parent: Option<String>,
    /// What is to be known about it (`data`).
    pub data: Bytes,
}

impl Envelope {
    /// An event of schema 1 without subject and trace, in the format of `codec`.
    #[must_use]
    pub fn new(
        id: EventId,
        source: Arc<str>,
        kind: Kind,
        time: Timestamp,
        codec: Codec,
        data: Bytes,
    ) -> Self {
        let content_type = content_type(codec).into();
        Self { id, source, kind, schema: 1, subject: None, time, content_type, trace_parent: None, data }
    }
}

/// The media type of what a codec writes.
pub(super) const fn content_type(codec: Codec) -> &'static str {
    match codec {
        Codec::Json => "application/json",
        Codec::MessagePack => "application/vnd.msgpack",
    }
}

/// The codec that reads a media type. By the event and not by the reader's options, so that a service can
/// change its codec while old events are on their way.
pub(super) fn codec_of(content_type: &str) -> Option<Codec> {
    [Codec::Json, Codec::MessagePack].into_iter().find(|codec| self::content_type(*codec) == content_type)
}
