//! Telling the caller that trying again has been tried.

use std::cell::Cell;
use std::future::Future;

/// The HTTP header of an answer by which a service says whether to try again.
pub const HEADER: &str = "mainstay-retry";

/// The value of [`HEADER`] in a failure that was retried before it was answered: the caller must not try
/// again.
pub const HEADER_NO: &str = "no";

tokio::task_local! {
    static GAVE_UP: Cell<bool>;
}

/// Runs `handler` and says whether a [`Retry`](super::Retry) in it gave up on an error that it might have
/// tried again, or that was [`Exhausted`](super::Retryable::Exhausted) already.
///
/// If the handler then fails, its answer carries [`HEADER`]`: no`, and the caller classifies it as
/// `Exhausted`. Else each service in a chain would repeat what the next one has repeated, and three tries in
/// three services were 27. A task that the handler spawns is not watched.
pub async fn watched<F: Future>(handler: F) -> (F::Output, bool) {
    GAVE_UP.scope(Cell::new(false), async { (handler.await, GAVE_UP.with(Cell::get)) }).await
}

/// Tells whoever watches.
pub(super) fn gave_up() {
    // Nobody need watch.
    GAVE_UP.try_with(|gave_up| gave_up.set(true)).ok();
}
