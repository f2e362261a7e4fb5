//! Where the trail is kept: the contract.

use async_trait::async_trait;

use super::{AuditEntry, AuditPage, Place};
use crate::users::Error;

#[async_trait]
pub(crate) trait AuditTrail: Send + Sync {
    /// Keeps an entry. Answers whether it is new: an event that is delivered again changes nothing.
    async fn record(&self, user: &str, entry: &AuditEntry) -> Result<bool, Error>;

    /// Up to `limit` entries after `place`, in the order of the versions they made, whatever order they
    /// were recorded in.
    async fn list(&self, user: &str, limit: usize, place: Option<Place>) -> Result<AuditPage, Error>;
}
