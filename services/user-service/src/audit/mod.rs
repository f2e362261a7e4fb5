//! The audit trail of users: what happened to each of them, in order, written from their events. It outlives
//! the user: no entry holds personal data. Knows nothing of HTTP.

mod entry;
mod place;
mod service;
mod sql;
mod subscriber;
mod trail;

#[cfg(test)]
mod contract;

/// The group that handles events for the trail.
pub(crate) const AUDIT: &str = "audit";

pub(crate) use entry::{AuditEntry, AuditPage, Details};
pub(crate) use place::Place;
pub(crate) use service::Audit;
pub(crate) use sql::SqlAuditTrail;
pub(crate) use subscriber::AuditSubscriber;
pub(crate) use trail::AuditTrail;
