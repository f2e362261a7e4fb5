//! Leader election: of all processes that campaign under a name, one leads.
//!
//! # Promise
//! - While clocks run evenly, at most one [`Leadership`] of a name passes [`check`](Leadership::check) at any moment.
//! - [`is_leader`](Election::is_leader) asks nobody: it reads a clock, and is false from the moment the lease may be
//!   over, also after a suspend of the machine or a stop of the process.
//! - The fence of a leadership is higher than that of every one before it.
//! - A leader that falls silent is followed after its ttl; one that resigns, at once.
//! - Dropping the last clone of an [`Election`] ends its campaign, and its leadership.
//!
//! # Not promised
//! - That there is a leader at every moment.
//! - That a process which stops between a check and what it does next does it in time: hand the
//!   [fence](Leadership::fence) to what is written to.
//! - Turns: the same process may be elected again and again.
//!
//! # If the store is down
//! [`Degrade::Refuse`](crate::store::Degrade::Refuse): nobody is elected. A leader leads until its lease is over. The
//! campaign goes on, and asks the store again about once in a second.
//!
//! # Defaults
//! Ttl 15 s, renewed every third of it, for as long as the process lives ([`Campaign::term`] bounds it).
//!
//! # Metrics
//! `lock_leaderships` (elections that this process leads), `lock_elections_won_total`, and those of the
//! [locks](super#metrics).
//!
//! ```
//! # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
//! use mainstay_core::lock::{Locks, Options};
//! use mainstay_core::{metrics::Metrics, time::Clock};
//! use std::time::Duration;
//!
//! let locks = Locks::in_memory(Options::default(), &Metrics::new(), Clock::system());
//! let election = locks.elect("purge").start()?;
//! let purging = election.run(|leadership| async move {
//!     println!("purging under fence {}", leadership.fence());
//! });
//! # tokio::select! { biased; () = purging => {}, _ = async { election.elected().await; for _ in 0..9 { tokio::task::yield_now().await } } => {} }
//! election.resign(Duration::from_secs(1)).await.unwrap();
//! # Ok::<(), mainstay_core::lock::Error>(()) }).unwrap();
//! ```

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::guard::{told, until_lost};
use super::hold::Hold;
use super::keeper::Keeper;
use super::metrics::Meters;
use super::terms::{MAX_WAIT, Terms};
use super::{Error, Fence, Guard, Inner, Lost, Request};
use crate::backoff::Backoff;
use crate::key::Key;
use crate::task::{Overrun, TaskGroup};

/// Kubernetes' lease: a compromise between how long nobody leads and how often the store is asked.
const TTL: Duration = Duration::from_secs(15);

/// Pauses of a campaign while the store is down.
const PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(1));

/// A campaign that has not begun; see [`Locks::elect`](super::Locks::elect).
#[derive(Debug, Clone)]
#[must_use = "nobody is elected before `start`"]
pub struct Campaign(Request);

impl Campaign {
    pub(super) fn new(inner: &Arc<Inner>, name: String) -> Self {
        let request = Request::new(Arc::clone(inner), name, Terms::new(1));
        Self(request.ttl(TTL).wait(MAX_WAIT).max_hold(Duration::MAX))
    }

    /// How long a leader that fell silent is waited for: 10 ms to 24 h, default 15 s.
    pub fn ttl(self, ttl: Duration) -> Self {
        Self(self.0.ttl(ttl))
    }

    /// A leadership ends when this has passed, and whoever waits is elected; at least the ttl. Default: it does not
    /// end by itself.
    pub fn term(self, limit: Duration) -> Self {
        Self(self.0.max_hold(limit))
    }

    /// Begins to campaign, in a task that the [`Election`] owns.
    ///
    /// # Errors
    /// [`Error::Key`] and [`Error::Option`] (`max_hold` is the [term](Self::term)); [`Error::Stopped`]. That the store
    /// is down is no error: the campaign goes on until it is back.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn start(self) -> Result<Election, Error> {
        let Self(request) = self;
        Key::new(&request.keys)?;
        request.terms.check(&request.inner.options)?;
        if request.inner.keeper.is_closed() {
            return Err(Error::Stopped);
        }
        let tasks = TaskGroup::child_of(&request.inner.closing);
        let (leader, leading) = watch::channel(None);
        let name = request.keys.as_str().into();
        tasks.spawn("leader election", campaign(request, leader, tasks.token()));
        Ok(Election { name, leading, tasks: Arc::new(tasks) })
    }
}

/// A campaign of this process. Clones share it, and it ends with the last of them; each clone has its own place
/// among the [changes](Self::changed).
#[derive(Debug, Clone)]
pub struct Election {
    name: Arc<str>,
    leading: watch::Receiver<Option<Leadership>>,
    tasks: Arc<TaskGroup>,
}

impl Election {
    /// What is campaigned for.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether this process leads now. Reads a clock and asks nobody.
    #[must_use]
    pub fn is_leader(&self) -> bool {
        self.leading.borrow().as_ref().is_some_and(|leadership| leadership.check().is_ok())
    }

    /// The leadership, if this process leads now.
    #[must_use]
    pub fn leader(&self) -> Option<Leadership> {
        self.leading.borrow().clone().filter(|leadership| leadership.check().is_ok())
    }

    /// Waits until this process leads: not at all if it does. `None` once the campaign is over. Has no deadline of its
    /// own; may be dropped at any time.
    pub async fn elected(&self) -> Option<Leadership> {
        let mut leading = self.leading.clone();
        let leads = |state: &Option<Leadership>| state.as_ref().is_some_and(|it| it.check().is_ok());
        leading.wait_for(leads).await.ok()?.clone()
    }

    /// Waits until this process begins or ceases to lead, since this clone last saw it; changes that came between are
    /// told as one. False once the campaign is over. Has no deadline of its own; may be dropped at any time.
    pub async fn changed(&mut self) -> bool {
        self.leading.changed().await.is_ok()
    }

    /// Runs `work` whenever this process leads, and drops what it returned where it stands when it leads no more.
    /// Once for each leadership: work that ends by itself is not run again before the next. Returns when the campaign
    /// is over; dropping this future drops the work and goes on campaigning. So does a panic of the work: the process
    /// then leads and does nothing, unless its [`Election`] is dropped or [resigns](Self::resign).
    pub async fn run<F, W>(&self, mut work: F)
    where
        F: FnMut(Leadership) -> W,
        W: Future<Output = ()>,
    {
        while let Some(leadership) = self.elected().await {
            let working = work(leadership.clone());
            if until_lost(working, leadership.lost(), || leadership.check()).await.is_ok() {
                leadership.lost().await;
            }
        }
    }

    /// Ends the campaign, and hands over if this process leads: those who wait are told. If the store does not answer,
    /// this ends all the same, and it is told again in the background until the ttl is over. Dropping this future does
    /// not take it back.
    ///
    /// # Errors
    /// [`Overrun`] if the campaign has not ended within `deadline`.
    pub async fn resign(&self, deadline: Duration) -> Result<(), Overrun> {
        self.tasks.stop(deadline).await
    }
}

/// The time for which a process leads. Holding it keeps nobody in office.
#[derive(Debug, Clone)]
pub struct Leadership {
    keeper: Arc<Keeper>,
    hold: Arc<Hold>,
    /// Made while the guard lives, and so told of its end.
    lost: CancellationToken,
}

impl Leadership {
    pub(super) fn new(keeper: &Arc<Keeper>, hold: &Arc<Hold>, lost: CancellationToken) -> Self {
        Self { keeper: Arc::clone(keeper), hold: Arc::clone(hold), lost }
    }

    /// Higher than that of every earlier leadership of the name.
    #[must_use]
    pub fn fence(&self) -> Fence {
        self.hold.fence
    }

    /// As [`Guard::check`]: whether it lasts, by this process's clock.
    ///
    /// # Errors
    /// [`Lost`]; from then on always.
    pub fn check(&self) -> Result<(), Lost> {
        self.keeper.check(&self.hold)
    }

    /// Ends when it is over: lost, resigned, or at the end of its term.
    pub fn lost(&self) -> impl Future<Output = Lost> + Send + use<> {
        told(self.lost.clone())
    }
}

/// Ends when told to, or with the locks.
async fn campaign(request: Request, leader: watch::Sender<Option<Leadership>>, resigned: CancellationToken) {
    let backoff = Backoff::new(PAUSE.0, PAUSE.1);
    let mut failures = 0_u32;
    while let Some(result) = resigned.run_until_cancelled(request.clone().acquire()).await {
        match result {
            Ok(guard) => {
                failures = 0;
                lead(guard, &leader, &resigned).await;
                // Those who wait come first.
                resigned.run_until_cancelled(tokio::time::sleep(PAUSE.0)).await;
            }
            // After a day in line.
            Err(Error::Contended { .. }) => {}
            Err(Error::Stopped | Error::Key(_) | Error::Option { .. }) => return,
            Err(error @ (Error::Unavailable(_) | Error::Unknown(_))) => {
                tracing::debug!(election = request.keys, %error, "campaign interrupted; trying again");
                let pause = tokio::time::sleep(backoff.delay(failures));
                resigned.run_until_cancelled(pause).await;
                failures = failures.saturating_add(1);
            }
        }
    }
}

async fn lead(guard: Guard, leader: &watch::Sender<Option<Leadership>>, resigned: &CancellationToken) {
    let (name, fence, leadership) = (guard.key().to_owned(), guard.fence().get(), guard.leadership());
    tracing::info!(election = name, fence, "elected");
    let office = Office::enter(leader, &leadership);
    resigned.run_until_cancelled(guard.lost()).await;
    drop(office);
    tracing::info!(election = name, fence, "leads no more");
    if let Err(error) = guard.release().await {
        tracing::debug!(election = name, %error, "leadership not released; trying again");
    }
}

/// Shows a leadership while it lives, however its task ends.
struct Office<'a> {
    leader: &'a watch::Sender<Option<Leadership>>,
    meters: &'a Meters,
}

impl<'a> Office<'a> {
    fn enter(leader: &'a watch::Sender<Option<Leadership>>, leadership: &'a Leadership) -> Self {
        let meters = &leadership.keeper.meters;
        meters.elected.increment(1);
        meters.leading.add(1.0);
        leader.send_replace(Some(leadership.clone()));
        Self { leader, meters }
    }
}

impl Drop for Office<'_> {
    fn drop(&mut self) {
        self.meters.leading.sub(1.0);
        self.leader.send_replace(None);
    }
}
