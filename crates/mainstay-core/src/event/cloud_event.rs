//! The JSON format of CloudEvents 1.0, for whatever leaves the system:
//! <https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/formats/json-format.md>.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::envelope::{codec_of, content_type};
use super::{Envelope, Kind};
use crate::codec::Codec;

/// In the order they are written.
#[derive(Serialize, Deserialize)]
struct Attributes {
    specversion: String,
    id: String,
    source: String,
    #[serde(rename = "type")]
    kind: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    subject: Option<String>,
    time: String,
    #[serde(default = "json")]
    datacontenttype: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    dataschema: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    traceparent: Option<String>,
    /// Not read: as a value it would lose digits and the order of its fields.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    data: Option<Box<RawValue>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    data_base64: Option<String>,
}

/// The version at the end of a schema's name; 1 where it has none.
fn schema_of(name: Option<&str>) -> u32 {
    name.and_then(|name| name.rsplit('/').next()?.parse().ok()).unwrap_or(1)
}

/// What the standard says of an event without a content type.
fn json() -> String {
    content_type(Codec::Json).to_owned()
}

/// JSON that is no event of this system.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a cloud event: {reason}")]
#[non_exhaustive]
pub struct InvalidCloudEvent {
    /// What is wrong with it.
    pub reason: String,
}

fn invalid(reason: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> InvalidCloudEvent {
    InvalidCloudEvent { reason: reason.into().to_string() }
}

impl Envelope {
    /// The event in JSON: structured mode, `application/cloudevents+json`. JSON data stands in it as it is, other
    /// data in base 64.
    #[must_use]
    pub fn to_cloud_event(&self) -> String {
        let is_json = codec_of(&self.content_type) == Some(Codec::Json);
        let data = if is_json { serde_json::from_slice(&self.data).ok() } else { None };
        let data_base64 = if data.is_none() { Some(BASE64.encode(&self.data)) } else { None };
        let attributes = Attributes {
            specversion: "1.0".to_owned(),
            id: self.id.to_string(),
            source: self.source.to_string(),
            kind: self.kind.to_string(),
            subject: self.subject.clone(),
            time: self.time.to_string(),
            datacontenttype: self.content_type.to_string(),
            dataschema: (self.schema != 1).then(|| format!("{}/{}", self.kind, self.schema)),
            traceparent: self.trace_parent.clone(),
            data,
            data_base64,
        };
        serde_json::to_string(&attributes).expect("strings and a JSON value are JSON")
    }

    /// The event in such JSON. Attributes it does not know are dropped.
    ///
    /// # Errors
    /// [`InvalidCloudEvent`]: not an event, not version 1.0, or without an id that is a UUID, a valid type and a
    /// time.
    pub fn from_cloud_event(json: &str) -> Result<Self, InvalidCloudEvent> {
        let attributes: Attributes = serde_json::from_str(json).map_err(invalid)?;
        if attributes.specversion != "1.0" {
            return Err(invalid("specversion is not 1.0"));
        }
        let data = match (attributes.data, attributes.data_base64) {
            (Some(_), Some(_)) => return Err(invalid("it has both data and data_base64")),
            (None, Some(text)) => Bytes::from(BASE64.decode(text).map_err(invalid)?),
            (Some(data), None) => Bytes::from(Box::<str>::from(data).into_string()),
            (None, None) => Bytes::from_static(b"null"),
        };
        Ok(Self {
            id: attributes.id.parse().map_err(invalid)?,
            source: attributes.source.into(),
            kind: Kind::new(&attributes.kind).map_err(invalid)?,
            schema: schema_of(attributes.dataschema.as_deref()),
            subject: attributes.subject,
            time: attributes.time.parse().map_err(invalid)?,
            content_type: attributes.datacontenttype.into(),
            trace_parent: attributes.traceparent,
            data,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::EventId;

    const GOLDEN: &str = r#"{"specversion":"1.0","id":"0190163d-8694-739b-aea5-966c26f8ad91","source":"users","type":"user.created","subject":"user/17","time":"2026-01-01T00:00:00.5Z","datacontenttype":"application/json","traceparent":"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01","data":{"email":"ada@example.org"}}"#;

    fn golden(codec: Codec) -> Envelope {
        let id: EventId = "0190163d-8694-739b-aea5-966c26f8ad91".parse().unwrap();
        let data = codec.encode(&serde_json::json!({"email": "ada@example.org"})).unwrap();
        let time = "2026-01-01T00:00:00.5Z".parse().unwrap();
        let mut event =
            Envelope::new(id, "users".into(), Kind::new("user.created").unwrap(), time, codec, data);
        event.subject = Some("user/17".into());
        event.trace_parent = Some("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".into());
        event
    }

    #[test]
    fn an_event_is_written_as_the_standard_says() {
        assert_eq!(golden(Codec::Json).to_cloud_event(), GOLDEN);
        assert_eq!(Envelope::from_cloud_event(GOLDEN), Ok(golden(Codec::Json)));
    }

    #[test]
    fn data_that_is_not_json_is_written_in_base_64() {
        let event = golden(Codec::MessagePack);
        let json = event.to_cloud_event();
        assert!(json.ends_with(r#""data_base64":"gaVlbWFpbK9hZGFAZXhhbXBsZS5vcmc="}"#), "{json}");
        assert_eq!(Envelope::from_cloud_event(&json), Ok(event));
    }

    #[test]
    fn what_is_no_event_is_refused_with_a_reason() {
        for (from, to) in [
            ("1.0", "0.3"),
            ("0190163d", "x"),
            ("user.created", "User Created"),
            ("2026-01-01", "2026-13-01"),
            ("\"data\":", "\"data_base64\":\"\",\"data\":"),
            ("{\"spec", "[\"spec"),
        ] {
            let refused = Envelope::from_cloud_event(&GOLDEN.replacen(from, to, 1)).unwrap_err();
            assert!(refused.to_string().starts_with("not a cloud event: "), "{refused}");
        }
    }

    #[test]
    fn json_data_stands_in_it_as_it_is() {
        for data in [
            "340282366920938463463374607431768211455",
            "0.10000000000000000001",
            r#"{"b":1,"a":[1.50]}"#,
            "null",
            "1e400",
        ] {
            let event = Envelope { data: data.as_bytes().to_vec().into(), ..golden(Codec::Json) };
            let json = event.to_cloud_event();
            assert!(json.ends_with(&format!(r#""data":{data}}}"#)), "{json}");
            assert_eq!(Envelope::from_cloud_event(&json), Ok(event));
        }
        let not_json = Envelope { data: "{".as_bytes().to_vec().into(), ..golden(Codec::Json) };
        assert_eq!(Envelope::from_cloud_event(&not_json.to_cloud_event()), Ok(not_json));
    }
}
