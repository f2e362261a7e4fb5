use std::collections::BTreeMap;

use serde::Serialize;

use super::Status;

/// Who answers. Part of every report.
///
/// ```
/// let mut identity = mainstay_core::health::Identity::default();
/// identity.service_id = "user-service".into();
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Identity {
    /// Name of the service.
    pub service_id: String,
    /// Name of this instance of it.
    pub instance_id: String,
    /// `development`, `production`, …
    pub environment: String,
    /// Region, where there is one.
    pub region: Option<String>,
    /// Availability zone, where there is one.
    pub zone: Option<String>,
    /// Version of the service; shown at the top of the report.
    #[serde(skip)]
    pub version: String,
}

/// State of the service and of each check, as the health endpoint answers it.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Report {
    /// Worst of all: see [`Status`].
    pub status: Status,
    /// When the report was made, in milliseconds since the Unix epoch.
    pub timestamp: i64,
    /// Milliseconds since the handle was made.
    pub uptime: u64,
    /// Version of the service.
    pub version: String,
    /// The checks by name.
    pub checks: BTreeMap<String, CheckReport>,
    /// Who answers.
    pub metadata: Identity,
}

/// State of one check.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct CheckReport {
    /// State after hysteresis; at best degraded when the latest result is missing or too old.
    pub status: Status,
    /// How long the latest run took, in milliseconds.
    pub response_time: u64,
    /// Whether its failure makes the service unhealthy.
    pub critical: bool,
    /// What is checked, where the check says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// When the latest run ended, in milliseconds since the Unix epoch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_checked: Option<i64>,
    /// Milliseconds since then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub age: Option<u64>,
    /// One line about the state: at most 200 characters, credentials in URLs removed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Failures in a row up to the latest run.
    pub consecutive_failures: u32,
    /// What the probe measured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_value: Option<f64>,
    /// Unit of the measured value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_unit: Option<String>,
}

impl Report {
    /// The same report as `application/health+json`, after draft-inadarei-api-health-check-06.
    #[must_use]
    pub fn to_health_json(&self) -> impl Serialize + '_ {
        HealthJson {
            status: self.status.health_json(),
            release_id: &self.version,
            service_id: &self.metadata.service_id,
            checks: self
                .checks
                .iter()
                .map(|(name, check)| (name.as_str(), [Component::of(name, check)]))
                .collect(),
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct HealthJson<'a> {
    status: &'static str,
    release_id: &'a str,
    service_id: &'a str,
    checks: BTreeMap<&'a str, [Component<'a>; 1]>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Component<'a> {
    component_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    component_type: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    observed_value: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    observed_unit: Option<&'a str>,
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    time: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    output: Option<&'a str>,
}

impl<'a> Component<'a> {
    /// The draft has no field for the time a run took: it is the observed value where the probe
    /// measured nothing else.
    fn of(name: &'a str, check: &'a CheckReport) -> Self {
        #[expect(clippy::cast_precision_loss, reason = "exact below 285 thousand years")]
        let response_time = check.response_time as f64;
        let time = check.last_checked.and_then(|at| jiff::Timestamp::from_millisecond(at).ok());
        Self {
            component_id: name,
            component_type: check.kind.as_deref(),
            observed_value: check.observed_value.or(check.age.map(|_| response_time)),
            observed_unit: check.observed_unit.as_deref().or(check.age.map(|_| "ms")),
            status: check.status.health_json(),
            time: time.map(|at| at.to_string()),
            // The draft asks to leave it out when the check passes.
            output: check.message.as_deref().filter(|_| check.status != Status::Healthy),
        }
    }
}
