use std::time::Duration;

/// How locks behave where a [`Request`](super::Request) does not say otherwise. Plain data with complete
/// defaults; checked when a lock is asked for.
///
/// ```
/// use std::time::Duration;
/// let mut options = mainstay_core::lock::Options::default();
/// options.ttl = Duration::from_secs(10);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Options {
    /// How long a lock stays held after its holder fell silent. Default 30 s, from 10 ms to 24 h.
    pub ttl: Duration,
    /// How long `acquire` waits for its turn. Default 10 s, at most 24 h.
    pub wait: Duration,
    /// How long a guard is renewed, at most: a wedged task does not hold for ever. Default 1 h (or the ttl, if that
    /// is longer).
    pub max_hold: Duration,
    /// How long the store may take to answer. Default 500 ms, at most 24 h.
    pub op_timeout: Duration,
    /// Most keys held at once in the store of this process, for [`Locks::in_memory`](super::Locks::in_memory); a
    /// lock beyond is refused as [`Error::Unavailable`](super::Error::Unavailable). Default 100,000.
    pub max_keys: usize,
    /// Whether what is held is renewed on a thread of its own, so that a runtime whose workers are all blocked neither
    /// loses its locks nor hears late that it has. Default true. Where false, the work is done by a task of the
    /// runtime in which the first lock is asked for: for tests that hold tokio's time in their hand.
    pub keeper_thread: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            ttl: Duration::from_secs(30),
            wait: Duration::from_secs(10),
            max_hold: Duration::from_secs(3600),
            op_timeout: Duration::from_millis(500),
            max_keys: super::memory::MAX_KEYS,
            keeper_thread: true,
        }
    }
}
