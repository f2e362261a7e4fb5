use std::sync::Arc;

use super::{AuditEntry, AuditPage, AuditTrail, Place};
use crate::users::{Error, UserRepository, page_limit};

/// What one can ask of the trail. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Audit {
    trail: Arc<dyn AuditTrail>,
    users: Arc<dyn UserRepository>,
}

impl Audit {
    pub(crate) fn new(trail: Arc<dyn AuditTrail>, users: Arc<dyn UserRepository>) -> Self {
        Self { trail, users }
    }

    /// A page of what happened to a user, deleted and purged ones included, oldest first; `limit` and
    /// `cursor` as the client wrote them. An entry appears shortly after its change was answered.
    ///
    /// # Errors
    /// [`Error::Invalid`]; [`Error::NotFound`] if there never was such a user.
    pub(crate) async fn of(
        &self,
        user: &str,
        limit: Option<&str>,
        cursor: Option<&str>,
    ) -> Result<AuditPage, Error> {
        let (limit, place) = match (page_limit(limit), cursor.map(Place::parse).transpose()) {
            (Ok(limit), Ok(place)) => (limit, place),
            (limit, place) => return Err(Error::invalid([limit.err(), place.err()])),
        };
        let page = self.trail.list(user, limit, place).await?;
        // A purged user is known by its trail alone, a new one whose event is on its way by its row alone.
        if page.items.is_empty() && !self.users.is_known(user).await? {
            return Err(Error::NotFound);
        }
        Ok(page)
    }

    /// Keeps an entry of a user's trail; again is as well as once.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub(crate) async fn record(&self, user: &str, entry: &AuditEntry) -> Result<bool, Error> {
        self.trail.record(user, entry).await
    }
}
