//! The contract of whatever carries events: in this process, a server's streams or a table.
//!
//! # States
//! An event that was accepted is, for each queue that took it, in exactly one state: *queued* (nobody has
//! it), *pending* (delivered under a receipt that still stands), *delayed* (to be delivered again, not before a
//! moment), *dead* (in the queue's dead letters) or *done* (forgotten). No verb leaves it in none or two.
//!
//! # Order
//! A queue delivers what is due again first, then what is new, in the order of publication. An ordered queue
//! delivers no event while an earlier one of its subject is queued, pending or delayed in this queue, whatever
//! became of consumers, receipts and the store meanwhile; events of other subjects and of none do not wait for it.
//! Events that wait for their turn count as queued.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::{Envelope, EventId, Pattern};
use crate::store::{Reply, StoreError};

/// Names a queue: the events that one group has still to handle, of the types one pattern takes.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub struct Queue {
    /// Who shares it; at most [`MAX_NAME`](crate::key::MAX_NAME) bytes.
    pub group: Arc<str>,
    /// What it takes.
    pub pattern: Pattern,
    /// The subscriber whose own it is, where each has one (broadcast). Such a queue has no use after its
    /// subscriber: a store may retire it by itself when nobody has fetched from it for a day, and, so that it does not
    /// hold publishers up, when it is more than half full and nobody has for five minutes.
    pub instance: Option<Arc<str>>,
}

impl Queue {
    /// The queue that everyone in `group` shares.
    #[must_use]
    pub const fn shared(group: Arc<str>, pattern: Pattern) -> Self {
        Self { group, pattern, instance: None }
    }

    /// The queue that one subscriber has for itself.
    #[must_use]
    pub const fn own(group: Arc<str>, pattern: Pattern, instance: Arc<str>) -> Self {
        Self { group, pattern, instance: Some(instance) }
    }
}

/// `group/pattern`, or `group/pattern/@instance`: no pattern has an `@`, and slashes of an instance are written as
/// `%2F`, so that the parts can be told apart from the end, whatever the group is called.
impl fmt::Display for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.group, self.pattern)?;
        let Some(instance) = &self.instance else { return Ok(()) };
        write!(f, "/@{}", instance.replace('%', "%25").replace('/', "%2F"))
    }
}

/// Where in the events of its topic a reader begins.
///
/// Only what a store still retains can be read, done or not; how much that is, its own bounds say. A place from
/// before that begins with the oldest that is retained.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Start {
    /// With what is published from now on.
    Now,
    /// With the oldest event that is retained.
    Oldest,
    /// With the first event that the store accepted at this time, or after it.
    At(Timestamp),
    /// Behind this event; if the store does not know it any more, with the oldest that is retained.
    After(EventId),
}

/// How a queue is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Opening {
    /// Where it begins, if there is none of this name yet.
    pub from: Start,
    /// Whether events of one subject are delivered one after the other: none while an earlier one of its subject is
    /// neither done nor dead. Events without a subject have no order.
    pub ordered: bool,
}

impl Opening {
    /// An unordered queue that begins now.
    pub const NOW: Self = Self { from: Start::Now, ordered: false };

    /// A queue that begins there.
    #[must_use]
    pub const fn from(from: Start) -> Self {
        Self { from, ..Self::NOW }
    }

    /// The same, with order by subject.
    #[must_use]
    pub const fn ordered(self) -> Self {
        Self { ordered: true, ..self }
    }
}

/// Retained events, oldest first.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct History {
    /// What was asked for, as far as it is retained.
    pub events: Vec<Arc<Envelope>>,
    /// Whether something before these may be missing: the reader's place is not retained any more.
    pub gap: bool,
}

impl History {
    /// These events.
    #[must_use]
    pub const fn new(events: Vec<Arc<Envelope>>, gap: bool) -> Self {
        Self { events, gap }
    }
}

/// What became of a publish.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Published {
    /// Every queue that takes the events has them.
    Accepted,
    /// A queue that takes them has no room: no queue has any of them.
    Full,
}

/// What a consumer asks of a queue.
#[derive(Debug, Clone, Copy)]
pub struct Fetch<'a> {
    /// Who asks: one name per consumer of a queue, the same after a restart. For people, and for stores that
    /// keep a list of consumers.
    pub consumer: &'a str,
    /// How many events it has room for.
    pub credits: usize,
    /// How long a receipt stands before its event may be delivered again.
    pub visibility: Duration,
    /// How long to wait for the first event.
    pub wait: Duration,
}

/// An event handed to a consumer, who has to [`settle`](Store::settle) it.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Delivery {
    /// What the consumer answers with.
    pub receipt: Receipt,
    /// The event.
    pub event: Arc<Envelope>,
}

impl Delivery {
    /// A delivery.
    #[must_use]
    pub const fn new(receipt: Receipt, event: Arc<Envelope>) -> Self {
        Self { receipt, event }
    }
}

/// The right to settle one delivery of one event. It stands until the event is settled or delivered again,
/// which raises `attempt`: no two deliveries have the same receipt, not even in a queue that was retired and opened
/// again. (Of a queue that was rewound, a delivery before may have the same as one after it.)
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Receipt {
    /// The event's place in the queue.
    pub position: u128,
    /// Which delivery of the event this is, from 1.
    pub attempt: u32,
}

/// How a delivery ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The event is done.
    Done,
    /// It is to be delivered again, not before this time has passed.
    Retry {
        /// From now; zero is at once.
        after: Duration,
    },
    /// It goes to the dead letters.
    Dead {
        /// Why, for the operator.
        cause: String,
    },
}

/// Whether a receipt was good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It stood, and the verb took effect.
    Held,
    /// It did not stand any more; nothing has happened.
    Gone,
}

/// An event nobody could handle.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Dead {
    /// The event.
    pub event: Arc<Envelope>,
    /// How often it was delivered.
    pub attempts: u32,
    /// Why it was given up.
    pub cause: String,
    /// When, by the store's calendar.
    pub at: Timestamp,
}

impl Dead {
    /// A dead letter.
    #[must_use]
    pub const fn new(event: Arc<Envelope>, attempts: u32, cause: String, at: Timestamp) -> Self {
        Self { event, attempts, cause, at }
    }
}

/// How a queue stands.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct QueueStats {
    /// Which queue.
    pub queue: Queue,
    /// Whether it keeps the order of each subject.
    pub ordered: bool,
    /// Events nobody has.
    pub queued: usize,
    /// Events delivered and not settled.
    pub pending: usize,
    /// Events waiting to be delivered again.
    pub delayed: usize,
    /// Dead letters.
    pub dead: usize,
    /// Dead letters dropped because there were too many, since the queue was opened.
    pub dead_dropped: u64,
    /// How long the oldest event that is neither done nor dead has been in the queue.
    pub oldest: Option<Duration>,
}

impl QueueStats {
    /// An empty queue's.
    #[must_use]
    pub const fn empty(queue: Queue) -> Self {
        Self {
            queue,
            ordered: false,
            queued: 0,
            pending: 0,
            delayed: 0,
            dead: 0,
            dead_dropped: 0,
            oldest: None,
        }
    }

    /// Events neither done nor dead.
    #[must_use]
    pub const fn unfinished(&self) -> usize {
        self.queued + self.pending + self.delayed
    }
}

/// Carries events from publishers to queues. Each verb is one whole decision.
///
/// Time is the store's own. A queue that was never [opened](Store::open), or was retired, is unknown: verbs
/// that need one answer [`StoreError::Rejected`], or where it says so as for an empty one.
pub trait Store: fmt::Debug + Send + Sync + 'static {
    /// Hands events of one topic, each with an id of its own, to every open queue whose pattern takes them: all to
    /// all of these queues, or none to any. Events keep their order. They are retained, also those no queue takes.
    ///
    /// An event whose id was accepted within the store's dedup window counts as accepted and is not taken again: a
    /// publish with an unknown outcome may be repeated.
    ///
    /// `Full` is back-pressure: no event is ever dropped to make room.
    fn publish<'a>(&'a self, events: &'a [Arc<Envelope>]) -> Reply<'a, Result<Published, StoreError>>;

    /// Makes the queue if there is none; it takes what is retained from `opening.from` on and what is published from
    /// now on. Opening an open queue changes nothing; with another `ordered` than it has, it is
    /// [`StoreError::Rejected`].
    fn open<'a>(&'a self, queue: &'a Queue, opening: Opening) -> Reply<'a, Result<(), StoreError>>;

    /// Delivers at most `credits` events, each under a new receipt, as soon as there is one, and none after
    /// `wait`. An event whose receipt has stood for `visibility` without being extended is due again.
    ///
    /// What a lost answer or a dropped reply would have delivered is due again after `visibility`, if not
    /// before. A lost answer is an error, never asked for again by the store itself: who reads in order must know.
    fn fetch<'a>(&'a self, queue: &'a Queue, want: Fetch<'a>)
    -> Reply<'a, Result<Vec<Delivery>, StoreError>>;

    /// Ends a delivery, once: a receipt that is settled does not stand any more. A receipt that has outlived its
    /// visibility stands until its event is delivered again.
    fn settle<'a>(
        &'a self,
        queue: &'a Queue,
        receipt: Receipt,
        verdict: Verdict,
    ) -> Reply<'a, Result<Standing, StoreError>>;

    /// Lets a receipt stand for `visibility` from now on, without a new delivery.
    fn extend<'a>(
        &'a self,
        queue: &'a Queue,
        receipt: Receipt,
        visibility: Duration,
    ) -> Reply<'a, Result<Standing, StoreError>>;

    /// Removes a queue with everything in it; says how many events were neither done nor dead. An unknown
    /// queue had none.
    fn retire<'a>(&'a self, queue: &'a Queue) -> Reply<'a, Result<usize, StoreError>>;

    /// How every queue stands.
    fn stats(&self) -> Reply<'_, Result<Vec<QueueStats>, StoreError>>;

    /// The dead letters of a queue, oldest first, at most `limit`: one of an event, of when it died last. An unknown
    /// queue has none.
    fn dead_letters<'a>(&'a self, queue: &'a Queue, limit: usize)
    -> Reply<'a, Result<Vec<Dead>, StoreError>>;

    /// Queues a dead letter again, for this queue alone, as if it were published now and had never been delivered: in
    /// an ordered queue it comes behind what its subject has unfinished. `false`: there is no such dead letter (any
    /// more), so that doing it twice does it once.
    fn redrive<'a>(&'a self, queue: &'a Queue, id: EventId) -> Reply<'a, Result<bool, StoreError>>;

    /// Queues for this queue once more what is retained from `from` on, done or dead before or not. What the queue
    /// has still to finish it may deliver twice, or once; nothing of it is lost. What is queued is then in the order
    /// of publication. [`Start::Now`] changes nothing.
    fn rewind<'a>(&'a self, queue: &'a Queue, from: Start) -> Reply<'a, Result<(), StoreError>>;

    /// Reads retained events that the pattern takes, oldest first, at most the first `limit`, without any effect on
    /// queues. A publish that was refused is not among them.
    fn history<'a>(
        &'a self,
        pattern: &'a Pattern,
        from: Start,
        limit: usize,
    ) -> Reply<'a, Result<History, StoreError>>;

    /// Whether the events end with this process. A handle that stops then lets its consumers empty their queues
    /// first; else it leaves what is queued to the next instance.
    fn is_volatile(&self) -> bool;
}

/// A transaction that events can be published in: they are published if it commits, and not if it does not.
pub trait Transactional: Send {
    /// Records events of one topic. When the transaction commits they are published as by [`Store::publish`], even if
    /// this process dies at once; until then nobody sees them.
    ///
    /// Events whose id was published before, or recorded, count as accepted. `Full` is back-pressure: nothing was
    /// recorded, and the transaction is as it was.
    fn record<'a>(&'a mut self, events: &'a [Arc<Envelope>]) -> Reply<'a, Result<Published, StoreError>>;
}
