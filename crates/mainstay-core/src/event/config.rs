use std::sync::Arc;
use std::time::Duration;

use crate::backoff::Backoff;
use crate::codec::Codec;

/// How events are published and handled: plain data with complete defaults.
///
/// ```
/// let mut options = mainstay_core::event::Options::new("orders");
/// options.concurrency = 4;
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Options {
    /// The service's name: the `source` of what it publishes and the default group of its subscriptions.
    pub source: Arc<str>,
    /// This instance's name, for consumers' names. Default: random. A name that stays over a restart finds what
    /// the last run left pending sooner, on stores that outlive the process.
    pub instance: Arc<str>,
    /// How data is written. What is read says itself how it was written. Default JSON.
    pub codec: Codec,
    /// Longest time for one question to the store, and for publishing with all its repetitions. Default 500 ms.
    pub op_timeout: Duration,
    /// Most bytes of one event's data. Default 256 KiB.
    pub max_event_bytes: usize,
    /// Most events one subscription handles at once. Default 16.
    pub concurrency: usize,
    /// How long to wait before an event whose handler failed is delivered again. Default 100 ms doubling to 30 s.
    pub backoff: Backoff,
    /// Deliveries of an event before it goes to the dead letters. Default 5.
    pub max_attempts: u32,
    /// A handler without an end after this time is dropped and has failed. Default 30 s.
    pub handler_timeout: Duration,
    /// How long an event stays with a consumer that gives no sign of life. Default 30 s; a third of it is the
    /// time between two signs.
    pub visibility: Duration,
    /// How often a store on a server is asked how its queues stand, for metrics and
    /// [`Events::last_stats`](super::Events::last_stats); zero is never. Default 15 s.
    pub stats_period: Duration,
    /// Bounds of the store in this process, for [`Events::in_memory`](super::Events::in_memory).
    pub memory: Bounds,
}

impl Options {
    /// The defaults, for this service.
    #[must_use]
    pub fn new(source: impl Into<Arc<str>>) -> Self {
        Self {
            source: source.into(),
            instance: format!("{:016x}", rand::random::<u64>()).into(),
            codec: Codec::Json,
            op_timeout: Duration::from_millis(500),
            max_event_bytes: 256 * 1024,
            concurrency: 16,
            backoff: Backoff::new(Duration::from_millis(100), Duration::from_secs(30)),
            max_attempts: 5,
            handler_timeout: Duration::from_secs(30),
            visibility: Duration::from_secs(30),
            stats_period: Duration::from_secs(15),
            memory: Bounds::default(),
        }
    }
}

impl Default for Options {
    /// For a service without a name, `service`.
    fn default() -> Self {
        Self::new("service")
    }
}

/// How much [`Memory`](super::Memory) keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Bounds {
    /// Most events of one queue that are neither done nor dead; beyond that publishing meets back-pressure.
    /// Default 10,000.
    pub queue: usize,
    /// Most dead letters of one queue; the oldest is dropped for a new one. Default 1,000.
    pub dead: usize,
    /// How long an id is remembered, so that publishing it again has no effect. Default 2 min.
    pub dedup_window: Duration,
    /// Most ids one topic remembers; the oldest is forgotten for a new one. Default 65,536 (about 3 MiB).
    pub dedup_ids: usize,
    /// How many of the latest events of a topic are retained for [`Start`](super::Start), rewinding and history,
    /// done or not. Default 1,000.
    pub retained: usize,
    /// Most bytes of events one topic retains, about. Default 4 MiB.
    pub retained_bytes: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            queue: 10_000,
            dead: 1_000,
            dedup_window: Duration::from_secs(120),
            dedup_ids: 65_536,
            retained: 1_000,
            retained_bytes: 4 << 20,
        }
    }
}
