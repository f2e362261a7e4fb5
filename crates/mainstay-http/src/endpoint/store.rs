//! What clients read of a store that did not answer.

use std::error::Error;

use http::StatusCode;

use crate::Problem;

/// Seconds after which to ask again when a store is away: longer than a reconnect, shorter than patience.
pub(super) const AGAIN: u32 = 1;

/// 503: nothing has happened. Who lost the store says so once; a line for each request would be a flood.
pub(super) fn away(cause: &(dyn Error + 'static)) -> Problem {
    tracing::debug!(error = cause, "the store is away");
    Problem::unavailable(AGAIN).detail("The store is not reached. Nothing has happened.")
}

/// 504: something may have happened.
pub(super) fn outcome_unknown(cause: &(dyn Error + 'static)) -> Problem {
    Problem::new(StatusCode::GATEWAY_TIMEOUT, "outcome-unknown", "The outcome is unknown")
        .detail("The store did not answer in time. Whether the request had an effect is not known.")
        .because(cause)
}
