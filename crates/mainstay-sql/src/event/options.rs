use std::time::Duration;

/// How much [`SqlEvents`](super::SqlEvents) keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Options {
    /// Most events of one queue that are neither done nor dead; beyond that publishing meets back-pressure. Default
    /// 10,000.
    pub max_queue: usize,
    /// Most dead letters of one queue; the oldest is dropped for a new one. Default 1,000.
    pub max_dead: usize,
    /// How long an event is retained that every queue has finished: for history, for rewinding, and so that
    /// publishing it again has no effect. Default 1 h.
    pub retention: Duration,
    /// Most events of a topic that are retained although every queue has finished them. Default 100,000.
    pub max_retained: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            max_queue: 10_000,
            max_dead: 1_000,
            retention: Duration::from_secs(3600),
            max_retained: 100_000,
        }
    }
}
