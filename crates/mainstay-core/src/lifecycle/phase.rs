use std::time::Duration;

/// How long shutdown may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    pub(super) shutdown_timeout: Duration,
    pub(super) drain_delay: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self { shutdown_timeout: Duration::from_secs(30), drain_delay: Duration::from_secs(5) }
    }
}

impl Options {
    /// Sets the total deadline of the sequence (default 30 s).
    #[must_use]
    pub fn shutdown_timeout(mut self, timeout: Duration) -> Self {
        self.shutdown_timeout = timeout;
        self
    }

    /// Sets how long to keep serving after readiness has failed (default 5 s); zero skips the wait.
    #[must_use]
    pub fn drain_delay(mut self, delay: Duration) -> Self {
        self.drain_delay = delay;
        self
    }
}

/// A step of the shutdown sequence, in the order in which they run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Step {
    /// Readiness fails.
    NotReady,
    /// Balancers notice; requests are still served.
    DrainDelay,
    /// Listeners close.
    StopAccepting,
    /// Requests in flight end.
    FinishRequests,
    /// Components stop, one after the other, the last registered first.
    StopComponents,
    /// Buffers are written out.
    Flush,
}

impl Step {
    /// Every step, in order.
    pub const ALL: [Self; 6] = [
        Self::NotReady,
        Self::DrainDelay,
        Self::StopAccepting,
        Self::FinishRequests,
        Self::StopComponents,
        Self::Flush,
    ];
}

/// Where the process is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Phase {
    /// Not serving yet.
    Starting,
    /// Serving.
    Running,
    /// Shutting down, in this step.
    Draining(Step),
    /// The sequence has ended.
    Stopped,
}
