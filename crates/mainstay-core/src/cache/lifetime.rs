//! Values that bring their own time to live.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use super::load::failed;
use super::{Cache, Cached, Error, Policy};

/// How long a loaded value lives, as its loader says: an access token, say, or an answer with `max-age`.
///
/// The policy's times are the upper bounds. Its jitter makes this one shorter only, never longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lifetime {
    pub(super) fresh_for: Duration,
    pub(super) stale_for: Duration,
}

impl Lifetime {
    /// Fresh for this long, and stale for as long as the policy says; at least 1 ms.
    #[must_use]
    pub const fn new(fresh_for: Duration) -> Self {
        Self { fresh_for, stale_for: Duration::MAX }
    }

    /// See [`Policy::stale_for`].
    #[must_use]
    pub const fn stale_for(self, time: Duration) -> Self {
        Self { stale_for: time, ..self }
    }
}

/// What a loader has said about the value it loaded; empty until then.
pub(super) type Told = Arc<OnceLock<Lifetime>>;

impl Cache {
    /// Like [`get_or_load_optional`](Self::get_or_load_optional), for values that bring their own time to live: the
    /// loader answers with the value and its [`Lifetime`].
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
    /// # use mainstay_core::{cache::{Cache, Lifetime, Options, Ttl}, metrics::Metrics, time::Clock};
    /// # use std::time::Duration;
    /// # let cache = Cache::in_memory(Options::default(), &Metrics::new(), Clock::system());
    /// let sign_in = || async { Ok::<_, std::io::Error>(Some(("token".to_owned(), Lifetime::new(Duration::from_secs(300))))) };
    /// let token: Option<String> = cache.get_or_load_expiring("token", Ttl::hours(1), sign_in).await?;
    /// # Ok::<(), mainstay_core::cache::Error>(()) }).unwrap();
    /// ```
    ///
    /// # Errors
    /// As [`get_or_load`](Self::get_or_load).
    pub async fn get_or_load_expiring<T, E, F, Fut>(
        &self,
        key: &str,
        policy: impl Into<Policy>,
        load: F,
    ) -> Result<Option<T>, Error>
    where
        T: Cached,
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future<Output = Result<Option<(T, Lifetime)>, E>> + Send + 'static,
    {
        let told = Told::default();
        let policy = Policy { told: Some(Arc::clone(&told)), ..policy.into() };
        let load = async move {
            let Some((value, lifetime)) = load().await.map_err(failed)? else { return Ok(None) };
            told.get_or_init(|| lifetime);
            Ok(Some(value))
        };
        self.fetch(key, policy, true, load).await
    }
}
