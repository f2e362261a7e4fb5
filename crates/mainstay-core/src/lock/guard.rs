use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::attempt::Grant;
use super::election::Leadership;
use super::hold::Hold;
use super::store::Release;
use super::terms::Checked;
use super::{Error, Fence, Inner, Lost, Token};

/// A held lock. It is renewed while it lives, and released when it is dropped.
///
/// Being a guard does not prove that the lock is still held: the process may have slept, the store may be gone. Ask
/// [`check`](Self::check) before what must not happen twice, or let [`run`](Self::run) do it, and hand
/// [`fence`](Self::fence) to the resource.
#[derive(Debug)]
#[must_use = "dropping a guard releases its lock"]
pub struct Guard {
    inner: Arc<Inner>,
    hold: Arc<Hold>,
    released: bool,
}

impl Guard {
    pub(super) fn keep(
        inner: &Arc<Inner>,
        key: String,
        terms: Checked,
        grant: &Grant,
    ) -> Result<Self, Error> {
        let hold = Arc::new(Hold::new(key, grant, terms.ttl, terms.max_hold));
        let kept = inner.keeper.add(&hold);
        let guard = Self { inner: Arc::clone(inner), hold, released: false };
        // The keeper may end with the last attempt: what it shall release it must know before.
        let guard = if kept { Ok(guard) } else { Err(Error::Stopped) };
        inner.keeper.attempt_ended();
        guard
    }

    /// What is shown of it while it means that this process leads.
    pub(super) fn leadership(&self) -> Leadership {
        Leadership::new(&self.inner.keeper, &self.hold, self.lost_token())
    }

    /// What is locked.
    #[must_use]
    pub fn key(&self) -> &str {
        self.hold.name()
    }

    /// Higher than the fence of every earlier holder of the key.
    #[must_use]
    pub fn fence(&self) -> Fence {
        self.hold.fence
    }

    /// Proves that the lock is this guard's.
    #[must_use]
    pub fn token(&self) -> &Token {
        &self.hold.token
    }

    /// Ends when the lock no longer protects: lost or released. After a suspend of the machine it may take a second
    /// to notice; [`check`](Self::check) takes no time.
    pub fn lost(&self) -> impl Future<Output = Lost> + Send + use<> {
        told(self.lost_token())
    }

    /// [`lost`](Self::lost) as a token.
    #[must_use]
    pub fn lost_token(&self) -> CancellationToken {
        self.hold.lost_token().clone()
    }

    /// Whether the lock is held now, by this process's own clock and what the store last said: reads a clock and asks
    /// nobody.
    ///
    /// # Errors
    /// [`Lost`]; from then on always.
    pub fn check(&self) -> Result<(), Lost> {
        self.inner.keeper.check(&self.hold)
    }

    /// Runs `future` for as long as the lock is held. `Ok` means that it was held when the future ended.
    ///
    /// # Errors
    /// [`Lost`]: the future was dropped where it stood, or it had ended too late.
    pub async fn run<F: Future>(&self, future: F) -> Result<F::Output, Lost> {
        until_lost(future, self.lost(), || self.check()).await
    }

    /// Releases the lock and says whether it was still held.
    ///
    /// # Errors
    /// [`Error::Unavailable`] and [`Error::Unknown`]: it is then tried again in the background until the ttl is over.
    /// So it is, too, if this future is dropped.
    pub async fn release(mut self) -> Result<Release, Error> {
        let keeper = &self.inner.keeper;
        keeper.forget(&self.hold);
        self.hold.end();
        let reply = keeper.store.release(self.hold.key(), self.hold.token, self.hold.tombstone);
        let release = reply.within(keeper.op_timeout).await?;
        self.released = true;
        Ok(release)
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        let Inner { keeper, .. } = &*self.inner;
        keeper.forget(&self.hold);
        self.hold.end();
        keeper.meters.hold.record_duration(keeper.clock.now().saturating_since(self.hold.since));
        if !self.released {
            keeper.release(self.hold.name(), self.hold.token, self.hold.tombstone, self.hold.ttl);
        }
    }
}

/// Ends when the token says that the lock is lost.
pub(super) async fn told(token: CancellationToken) -> Lost {
    token.cancelled().await;
    Lost
}

/// Polls `future` only while `check` says that it may.
pub(super) async fn until_lost<F: Future>(
    future: F,
    lost: impl Future<Output = Lost>,
    check: impl Fn() -> Result<(), Lost>,
) -> Result<F::Output, Lost> {
    let (mut future, mut lost) = (pin!(future), pin!(lost));
    let output = poll_fn(|context| {
        if let Poll::Ready(lost) = lost.as_mut().poll(context) {
            return Poll::Ready(Err(lost));
        }
        match check() {
            Ok(()) => future.as_mut().poll(context).map(Ok),
            Err(lost) => Poll::Ready(Err(lost)),
        }
    });
    let output = output.await?;
    check().map(|()| output)
}

/// A lock that nobody watches over: it ends with its ttl or when it is released by its token.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Lease {
    /// What is locked.
    pub key: String,
    /// Releases it.
    pub token: Token,
    /// Higher than the fence of every earlier holder of the key.
    pub fence: Fence,
    /// How long it was granted for.
    pub ttl: Duration,
}
