//! Promises of `telemetry`.
