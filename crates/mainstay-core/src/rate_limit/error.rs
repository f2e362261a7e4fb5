use crate::key::InvalidKey;
use crate::store::StoreError;

/// Why a question to the limiter was wrong, or a refund was not made. That a store fails is no error of
/// a check: the quota's [`Outage`](super::Outage) decides then.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The key cannot be one.
    #[error(transparent)]
    Key(#[from] InvalidKey),
    /// The quota, or a list of charges, cannot be right.
    #[error("rate limit {field} {reason}")]
    Quota {
        /// `limit`, `window`, `buckets`, `burst`, `name`, `share` or `charges`.
        field: &'static str,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The decision was made for another key or quota; nothing was refunded.
    #[error("refund of a decision about another key or quota")]
    OtherDecision,
    /// The store was not reached: nothing was refunded. The same decision can be refunded later.
    #[error("refund not made: {0}")]
    Unavailable(#[source] StoreError),
    /// The refund was sent and no answer came. It is not tried again: what was charged counts as spent.
    #[error("refund perhaps not made: {0}")]
    Unknown(#[source] StoreError),
}
