//! One server, and the connections to it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::time::{sleep, timeout};
use tokio_util::sync::DropGuard;

use mainstay_core::task::TaskGroup;

use super::audit::{self, Info};
use super::context::Context;
use super::guard::Guard;
use super::link::{self, Link, Purpose};
use super::record::Record;
use super::{ServerTime, Witness};
use crate::status::{Finding, ServerStatus, Severity};
use crate::{Address, Answer, Lane};

/// Pause between two looks at a server's `INFO`.
const LOOK: Duration = Duration::from_secs(10);
/// Pause after connections came or went: they do so several at a time.
const SETTLE: Duration = Duration::from_millis(50);

/// One server: a pool, a connection whose reads are tracked, and one that renewals go over. Dropping it closes them.
pub(crate) struct Node {
    links: Arc<Links>,
    end: DropGuard,
}

struct Links {
    context: Arc<Context>,
    guard: Arc<Guard>,
    record: Arc<Record>,
    pool: Vec<Arc<Link>>,
    tracked: Arc<Link>,
    keeper: Arc<Link>,
    looks: Mutex<Looks>,
}

/// What the server said of itself.
#[derive(Default)]
struct Looks {
    info: Info,
    findings: Vec<Finding>,
    /// The generation of the tracked connection then.
    generation: u64,
}

impl Node {
    pub(crate) fn open(address: Address, context: &Arc<Context>, tasks: &TaskGroup, keeper: &Handle) -> Self {
        let guard = Arc::new(Guard::new(address.clone()));
        let record = Arc::new(Record::new(address));
        let link = |purpose| Link::new(purpose, context, &record, &guard);
        let links = Arc::new(Links {
            pool: (0..context.options.connections.max(1)).map(|_| link(Purpose::Commands)).collect(),
            tracked: link(Purpose::Tracked),
            keeper: link(Purpose::Keeper),
            context: Arc::clone(context),
            looks: Mutex::default(),
            guard,
            record,
        });
        let end = tasks.token().child_token();
        for link in links.pool.iter().chain([&links.tracked]) {
            let (end, up) = (end.clone(), link::keep_up(Arc::clone(link)));
            tasks.spawn("redis connection", async move {
                end.run_until_cancelled(up).await;
            });
        }
        let (ended, up) = (end.clone(), link::keep_up(Arc::clone(&links.keeper)));
        keeper.spawn(async move { ended.run_until_cancelled(up).await });
        let (ended, look) = (end.clone(), look_after(Arc::clone(&links)));
        tasks.spawn("redis audit", async move {
            ended.run_until_cancelled(look).await;
        });
        Self { links, end: end.drop_guard() }
    }

    /// Which server this is.
    pub(crate) fn address(&self) -> &Address {
        &self.links.record.address
    }

    /// Ends the connections now; whoever still holds the node gets [`CallError::NotSent`](crate::CallError).
    pub(crate) fn close(&self) {
        self.links.guard.retire();
        self.end.token().cancel();
        self.links.renew("closed");
    }

    /// Whether every connection to the server is up.
    pub(crate) fn is_up(&self) -> bool {
        self.links.all().all(Link::is_up)
    }

    /// Whether the guard lets calls pass.
    pub(crate) fn answers(&self) -> bool {
        !self.links.guard.is_open()
    }

    /// One of the pool that is up, if there is one.
    pub(crate) fn link(&self, lane: Lane, which: usize) -> &Link {
        let pool = &self.links.pool;
        match lane {
            Lane::Main => {
                let mut turns = (0..pool.len()).map(|turn| &pool[which.wrapping_add(turn) % pool.len()]);
                turns.find(|link| link.is_up()).unwrap_or(&pool[which % pool.len()])
            }
            Lane::Tracked => &self.links.tracked,
            Lane::Keeper => &self.links.keeper,
        }
    }

    /// Whether the connection of this lane was lost so short a time ago that it is worth waiting for the next one.
    pub(crate) fn lost_lately(&self, lane: Lane) -> bool {
        match lane {
            Lane::Main => self.links.pool.iter().any(|link| link.lost_lately()),
            Lane::Tracked => self.links.tracked.lost_lately(),
            Lane::Keeper => self.links.keeper.lost_lately(),
        }
    }

    pub(crate) fn witness(&self) -> Option<Witness> {
        self.links.tracked.witness()
    }

    pub(crate) fn server_time(&self) -> Option<ServerTime> {
        self.links.tracked.server_time()
    }

    /// Looks at the server now.
    pub(crate) async fn look(&self) {
        self.links.look().await;
    }

    /// What is known of the server. Asks nothing.
    pub(crate) fn status(&self) -> ServerStatus {
        let links = &self.links;
        let looks = links.looks.lock().unwrap_or_else(PoisonError::into_inner);
        let is_up = self.is_up();
        ServerStatus {
            address: links.record.address.to_string(),
            connected: is_up && !links.guard.is_open(),
            version: links.record.version(),
            role: looks.info.text("role").map(str::to_owned),
            up_since: links.record.up_since().filter(|_| is_up),
            last_error: links.record.last_error(),
            guard_open: links.guard.is_open(),
            in_flight: links.all().map(Link::in_flight).sum(),
            round_trip: links.tracked.round_trip(),
            memory_used: looks.info.number("used_memory"),
            memory_max: looks.info.number("maxmemory").filter(|most| *most > 0),
            clients: looks.info.number("connected_clients"),
            findings: looks.findings.clone(),
        }
    }
}

impl Links {
    fn all(&self) -> impl Iterator<Item = &Link> {
        self.pool.iter().chain([&self.tracked, &self.keeper]).map(|link| &**link)
    }

    fn renew(&self, reason: &str) {
        self.all().for_each(|link| link.renew(reason));
    }

    async fn look(&self) {
        let Some(link) = self.pool.iter().find(|link| link.is_up()) else { return };
        let generation = self.tracked.generation();
        let (info, findings) = match link.inquire(&redis::cmd("INFO")).await {
            Ok(Answer::Bytes(text)) => {
                let info = Info::new(String::from_utf8_lossy(&text).into_owned());
                let findings = audit::audit(&info, self.skew());
                (info, findings)
            }
            Ok(_) => (Info::default(), audit::unknown("INFO is no text")),
            Err(refusal) => (Info::default(), audit::unknown(&refusal.to_string())),
        };
        let mut looks = self.looks.lock().unwrap_or_else(PoisonError::into_inner);
        let of_another_history = match (looks.info.text("master_replid"), info.text("master_replid")) {
            // A connection that was made since then knows no other.
            (Some(before), Some(now)) => before != now && looks.generation == generation,
            _ => false,
        };
        let news: Vec<_> =
            findings.iter().filter(|finding| !looks.findings.contains(finding)).cloned().collect();
        *looks = Looks { info, findings, generation };
        drop(looks);
        for Finding { severity, message, code, .. } in news {
            let address = &self.record.address;
            match severity {
                Severity::Notice => tracing::info!(%address, code, "{message}"),
                _ => tracing::warn!(%address, code, "{message}"),
            }
        }
        if of_another_history {
            self.renew("the server's data have another history");
        }
    }

    /// Microseconds that the server's calendar is ahead of this machine's.
    fn skew(&self) -> Option<i64> {
        let (now, wall) = (self.context.clock.now(), self.context.clock.wall().as_microsecond());
        let server = self.tracked.server_time()?;
        let (earliest, latest) = (server.earliest(now), server.latest(now));
        i64::try_from(earliest.midpoint(latest)).ok()?.checked_sub(wall)
    }
}

/// Looks at the server's `INFO` now and then, and when connections came or went.
async fn look_after(links: Arc<Links>) {
    let mut epochs = links.context.epoch.subscribe();
    loop {
        epochs.borrow_and_update();
        links.look().await;
        let _changed = timeout(LOOK, epochs.changed()).await;
        sleep(SETTLE).await;
    }
}
