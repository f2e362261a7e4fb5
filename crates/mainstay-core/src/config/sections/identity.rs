//! `[identity]`

use serde::{Deserialize, Serialize};

use super::check;
use crate::config::field::{Field, Kind};
use crate::config::section::{Section, defaults};

/// Who this process is among others.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Identity {
    /// `SERVICE_NAME`: the same for all instances. Empty in `Identity::default()` only.
    #[serde(default)]
    pub service_name: String,
    /// `REGION`, or `AWS_REGION`.
    pub region: Option<String>,
    /// `ZONE`, or `AWS_AVAILABILITY_ZONE`.
    pub zone: Option<String>,
    /// `INSTANCE_ID`: different for each process. Empty in `Identity::default()` only.
    #[serde(default)]
    pub instance_id: String,
}

const NAME: &str = "letters, digits, '-', '_' and '.', at most 128 and not starting with '.'";

impl Section for Identity {
    const NAME: &'static str = "identity";
    const FIELDS: &'static [Field] = &[
        Field::new("service_name", Kind::Text, "Name of the service, the same for all instances")
            .env(&["SERVICE_NAME"])
            .computed("the binary's name")
            .check(NAME, check::name)
            .restart_only(),
        Field::new("region", Kind::Text, "Region the process runs in")
            .env(&["REGION", "AWS_REGION"])
            .check(NAME, check::name)
            .restart_only(),
        Field::new("zone", Kind::Text, "Zone the process runs in")
            .env(&["ZONE", "AWS_AVAILABILITY_ZONE"])
            .check(NAME, check::name)
            .restart_only(),
        Field::new("instance_id", Kind::Text, "Name of this process, different for each")
            .env(&["INSTANCE_ID"])
            .computed("generated at start")
            .check(NAME, check::name)
            .restart_only(),
    ];
}

impl Default for Identity {
    fn default() -> Self {
        defaults()
    }
}

/// A random version 4 UUID (RFC 9562, section 5.4).
pub(in crate::config) fn generated_id() -> String {
    let bits: u128 = rand::random();
    let bits = (bits & !(0xf << 76) & !(0x3 << 62)) | (0x4 << 76) | (0x2 << 62);
    let hex = format!("{bits:032x}");
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}

/// The name of the running binary, reduced to the characters a service name may have.
pub(in crate::config) fn binary_name() -> String {
    let program = std::env::args_os().next().unwrap_or_default();
    let stem = std::path::Path::new(&program).file_stem().unwrap_or_default().to_string_lossy();
    let plain: String = stem
        .chars()
        .take(128)
        .map(|c| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '-' })
        .collect();
    let plain = plain.trim_start_matches('.');
    if plain.is_empty() { "service".to_owned() } else { plain.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_generated_id_is_a_version_4_uuid_and_different_each_time() {
        let (one, two) = (generated_id(), generated_id());
        assert_ne!(one, two);
        assert_eq!(one.len(), 36);
        assert_eq!(&one[14..15], "4");
        assert!("89ab".contains(&one[19..20]), "{one}");
    }
}
