//! An answer as it lies in the store.

use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::response::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::control::members;
use super::digest::Digest;
use super::plan;
use super::storable;

/// Headers that belong to one connection (RFC 9110 §7.6.1).
const HOP_BY_HOP: [HeaderName; 8] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::PROXY_AUTHENTICATE,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Kept {
    #[serde(with = "status")]
    status: StatusCode,
    #[serde(with = "headers")]
    headers: HeaderMap,
    #[serde(with = "body")]
    body: Bytes,
    /// When it was made, in seconds since the epoch, less the age that it had then.
    born: i64,
    /// The request headers it depends on.
    vary: Vec<String>,
    /// What the request that it answers said in them.
    selected: String,
}

impl Kept {
    pub(super) fn new(
        answer: &Parts,
        body: Bytes,
        vary: Vec<String>,
        asked: &HeaderMap,
        now: Timestamp,
    ) -> Self {
        let mut headers = answer.headers.clone();
        let named = headers.get_all(header::CONNECTION).iter().filter_map(|line| line.to_str().ok());
        let named: Vec<_> = named.flat_map(|line| members(line, false)).map(str::to_owned).collect();
        named.iter().for_each(|name| drop(headers.remove(name.as_str())));
        HOP_BY_HOP.iter().for_each(|name| drop(headers.remove(name)));
        let age = i64::try_from(storable::age(&headers).as_secs()).unwrap_or(i64::MAX);
        headers.remove(header::AGE);
        // Its length is that of the body that is sent.
        headers.remove(header::CONTENT_LENGTH);
        if answer.status == StatusCode::OK && !headers.contains_key(header::ETAG) {
            // Weak: it says that the content is the same, and cannot guard a change, since no handler knows it.
            let tag = format!("W/\"{}\"", Digest::default().part(&body).hex());
            headers.insert(header::ETAG, HeaderValue::try_from(tag).expect("hexadecimal digits in quotes"));
        }
        let selected = plan::selection(vary.iter().map(String::as_str), asked);
        let born = now.as_second().saturating_sub(age);
        Self { status: answer.status, headers, body, born, vary, selected }
    }

    /// What tells this request's answer from others under the same key.
    pub(super) fn selection(&self, asked: &HeaderMap) -> String {
        plan::selection(self.vary.iter().map(String::as_str), asked)
    }

    /// Whether it answers a request with these headers.
    pub(super) fn answers(&self, asked: &HeaderMap) -> bool {
        self.vary.is_empty() || self.selection(asked) == self.selected
    }

    /// In whole seconds. Clocks of machines differ: never below zero.
    pub(super) fn age(&self, now: Timestamp) -> Duration {
        Duration::from_secs(now.as_second().saturating_sub(self.born).try_into().unwrap_or(0))
    }

    pub(super) fn response(&self) -> Response {
        let mut response = Response::new(Body::from(self.body.clone()));
        *response.status_mut() = self.status;
        *response.headers_mut() = self.headers.clone();
        response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(self.body.len()));
        response
    }
}

mod status {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    use super::StatusCode;

    pub(super) fn serialize<S: Serializer>(status: &StatusCode, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_u16(status.as_u16())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<StatusCode, D::Error> {
        StatusCode::from_u16(u16::deserialize(from)?).map_err(D::Error::custom)
    }
}

mod headers {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    use super::{HeaderMap, HeaderName, HeaderValue};

    /// A value may hold any byte above its spaces: each becomes the character of its number.
    pub(super) fn serialize<S: Serializer>(headers: &HeaderMap, to: S) -> Result<S::Ok, S::Error> {
        let text =
            |value: &HeaderValue| value.as_bytes().iter().map(|&byte| char::from(byte)).collect::<String>();
        to.collect_seq(headers.iter().map(|(name, value)| (name.as_str(), text(value))))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<HeaderMap, D::Error> {
        let mut headers = HeaderMap::new();
        for (name, value) in Vec::<(String, String)>::deserialize(from)? {
            let bytes: Result<Vec<u8>, _> = value.chars().map(|byte| u8::try_from(u32::from(byte))).collect();
            let value =
                HeaderValue::from_bytes(&bytes.map_err(D::Error::custom)?).map_err(D::Error::custom)?;
            let name = HeaderName::try_from(name).map_err(D::Error::custom)?;
            headers.try_append(name, value).map_err(D::Error::custom)?;
        }
        Ok(headers)
    }
}

mod body {
    use std::borrow::Cow;

    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

    use super::Bytes;

    /// Text as it is, for most answers are text.
    #[derive(Serialize, Deserialize)]
    enum Wire<'a> {
        #[serde(rename = "text")]
        Text(Cow<'a, str>),
        #[serde(rename = "base64")]
        Base64(Cow<'a, str>),
    }

    pub(super) fn serialize<S: Serializer>(body: &Bytes, to: S) -> Result<S::Ok, S::Error> {
        let wire = match std::str::from_utf8(body) {
            Ok(text) => Wire::Text(text.into()),
            Err(_) => Wire::Base64(STANDARD.encode(body).into()),
        };
        wire.serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Bytes, D::Error> {
        match Wire::deserialize(from)? {
            Wire::Text(text) => Ok(text.into_owned().into()),
            Wire::Base64(text) => STANDARD.decode(&*text).map(Bytes::from).map_err(D::Error::custom),
        }
    }
}
