use std::sync::Arc;
use std::time::Duration;

use super::State;

/// The breaker let no call pass: nothing was sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("breaker {name} is {state}, retry after {retry_after:?}")]
#[non_exhaustive]
pub struct Open {
    /// The breaker's name.
    pub name: Arc<str>,
    /// Open, or half-open with all its probes under way.
    pub state: State,
    /// Not before this is a call let pass, if probes are slow; above zero. A breaker that is forced open
    /// does not know and says `open_for`.
    pub retry_after: Duration,
}

/// Why a call through a breaker has no value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error<E> {
    /// The breaker did not let it pass: nothing was sent.
    #[error(transparent)]
    Open(#[from] Open),
    /// It was made and ended with this error.
    #[error(transparent)]
    Inner(E),
}

impl<E> Error<E> {
    /// The value to go on with when the breaker is open; the call's own error stays one.
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
    /// # use mainstay_core::{breaker::{Breaker, Mode, Policy}, metrics::Metrics, time::Clock};
    /// let breaker = Breaker::new("prices", Policy::default(), &Metrics::new(), Clock::system())?;
    /// breaker.force(Mode::ForcedOpen);
    /// let price = breaker.call(|| async { Err("no answer") }).await;
    /// assert_eq!(price.or_else(|error| error.fallback(|| 42)), Ok::<_, &str>(42));
    /// # Ok::<(), mainstay_core::breaker::PolicyError>(()) }).unwrap();
    /// ```
    ///
    /// # Errors
    /// The call's own.
    pub fn fallback<T>(self, value: impl FnOnce() -> T) -> Result<T, E> {
        match self {
            Self::Open(_) => Ok(value()),
            Self::Inner(error) => Err(error),
        }
    }
}
