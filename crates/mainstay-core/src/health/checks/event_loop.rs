use std::convert::Infallible;
use std::time::Duration;

use tokio::time::Instant;

use crate::health::{Check, Observation};

/// Limits of [`event_loop_lag`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct EventLoopOptions {
    /// How long the probe sleeps. Default 10 ms.
    pub sleep: Duration,
    /// Waking up later than this is a warning. Default 100 ms.
    pub warn: Duration,
    /// Waking up later than this is a failure. Default 1 s.
    pub fail: Duration,
}

impl Default for EventLoopOptions {
    fn default() -> Self {
        Self {
            sleep: Duration::from_millis(10),
            warn: Duration::from_millis(100),
            fail: Duration::from_secs(1),
        }
    }
}

/// The check `event-loop`: sleeps for a moment and measures how much too late it wakes up, which is
/// how long any other task waits for its turn.
pub fn event_loop_lag(options: EventLoopOptions) -> Check {
    let EventLoopOptions { sleep, warn, fail } = options;
    Check::new("event-loop", move || async move {
        let asleep = Instant::now();
        tokio::time::sleep(sleep).await;
        let lag = asleep.elapsed().saturating_sub(sleep);
        let milliseconds = (lag.as_secs_f64() * 1e6).round() / 1e3;
        let seen = Observation::of(milliseconds, "ms");
        Ok::<_, Infallible>(if lag >= fail {
            seen.fail(format!("tasks wait {milliseconds} ms for their turn"))
        } else if lag >= warn {
            seen.warn(format!("tasks wait {milliseconds} ms for their turn"))
        } else {
            seen
        })
    })
    .kind("system")
}
