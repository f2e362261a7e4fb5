//! What happens, as it happens, for any number of readers: pages that update themselves, caches that follow.
//!
//! # Promise
//! - A reader gets every event of its pattern that is published after [`Feed::read`] returned, or that came behind the
//!   one it names, once and in the order of the store; through a store that comes and goes, and however slow it is.
//! - Where it cannot be so, because what is missing is not retained any more, it is told: [`Item::Gap`].
//! - However many readers there are, a process has one broadcast subscription per pattern, and asks for history only
//!   for readers that begin behind an event or fall back.
//!
//! # Not promised
//! - That anything is handled: a reader that goes away takes what it has read along. Use a subscription.
//!
//! # If the store is down
//! Readers wait. When it is back they go on where they were.
//!
//! # Defaults
//! A reader may be 1,024 events behind before it reads them from the history.
//!
//! # Metrics
//! None of its own; the subscription's queue is among those of the group.

mod pump;
mod reader;
mod recent;

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::{broadcast, oneshot};
use tokio_util::sync::DropGuard;

use super::store::{Queue, Store};
use super::{Error, EventId, Events, Pattern};
use pump::{Live, Pump};

pub use reader::{Item, Reader};

/// Events a reader may be behind before it has to read them from the history.
const BUFFER: usize = 1_024;

/// The feeds somebody reads.
pub(super) type Feeds = tokio::sync::Mutex<HashMap<Pattern, Weak<Shared>>>;

/// Events of a pattern as they are published: [`Events::feed`]. Clones are the same feed; it ends when the last clone
/// and the last reader are dropped, or when the [`Events`] it came from is stopped or dropped.
#[derive(Debug, Clone)]
pub struct Feed {
    shared: Arc<Shared>,
}

#[derive(Debug)]
pub(super) struct Shared {
    store: Arc<dyn Store>,
    pattern: Pattern,
    op_timeout: Duration,
    /// The pump has the sender: when it ends, readers see it.
    live: broadcast::WeakSender<Live>,
    /// Ends the pump.
    _pump: DropGuard,
}

impl Feed {
    /// A reader that begins behind an event, such as the last one a client has seen, or with what is published from
    /// now on. Behind an event that is not retained any more it begins with [`Item::Gap`] and the oldest that is.
    #[must_use]
    pub fn read(&self, after: Option<EventId>) -> Reader {
        Reader::new(Arc::clone(&self.shared), after)
    }
}

impl Events {
    /// What is published from now on, of one type or of a pattern such as `user.*`, for readers in this process. All
    /// feeds of a pattern share one subscription.
    ///
    /// Dropping the future leaves nothing behind.
    ///
    /// ```
    /// # use mainstay_core::event::{Events, Item, Options};
    /// # use mainstay_core::{metrics::Metrics, time::Clock};
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
    /// # let events = Events::in_memory(Options::new("users"), &Metrics::new(), Clock::system());
    /// let last_seen = events.publish("user.created", "ada").await?;
    /// events.publish("user.created", "grace").await?;
    /// let mut reader = events.feed("user.*").await?.read(Some(last_seen));
    /// let Some(Item::Event(event)) = reader.next().await else { panic!("it is retained") };
    /// assert_eq!(event.data, b"\"grace\""[..]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    /// [`Error::Kind`], [`Error::Unavailable`], [`Error::Unknown`], [`Error::Stopped`]: there is no feed.
    ///
    /// # Panics
    /// Outside a tokio runtime, as every spawn does.
    pub async fn feed(&self, pattern: &str) -> Result<Feed, Error> {
        let _pass = self.enter()?;
        let pattern = Pattern::new(pattern)?;
        // Held until the queue is open, so that whoever comes second does not read before.
        let mut feeds = self.inner.feeds.lock().await;
        let shared = feeds.get(&pattern).and_then(Weak::upgrade);
        if let Some(shared) = shared.filter(|shared| shared.live.strong_count() > 0) {
            return Ok(Feed { shared });
        }
        let options = self.options();
        let (live, _) = broadcast::channel(BUFFER);
        let ended = self.inner.tasks.token().child_token();
        let shared = Arc::new(Shared {
            store: Arc::clone(self.store()),
            pattern: pattern.clone(),
            op_timeout: options.op_timeout,
            live: live.downgrade(),
            _pump: ended.clone().drop_guard(),
        });
        let name = self.next_consumer();
        let instance = format!("{name}-{:08x}", rand::random::<u32>());
        let queue = Queue::own(Arc::clone(&options.source), pattern.clone(), instance.into());
        let (visibility, op_timeout) = (options.visibility, options.op_timeout);
        let pump = Pump { store: Arc::clone(self.store()), queue, name, visibility, op_timeout };
        let (opened, answer) = oneshot::channel();
        self.inner.tasks.spawn("event feed", pump.run(live, opened, ended));
        answer.await.map_err(|_ended| Error::Stopped)??;
        feeds.retain(|_, feed| feed.strong_count() > 0);
        feeds.insert(pattern, Arc::downgrade(&shared));
        Ok(Feed { shared })
    }
}
