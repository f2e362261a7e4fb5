//! How long work waits before a thread of the runtime begins it, and who is refused when that is too long.
//!
//! The server's queue is the runtime's: sockets that are ready and tasks that are woken, in one line. Nobody can ask
//! its length; but a task that wanted to be woken at a moment knows by how much it was late, and whoever was woken at
//! the same moment waited as long. It costs a request two loads.

use std::convert::Infallible;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use axum::extract::Request;
use http::HeaderName;
use mainstay_core::metrics::Metrics;
use mainstay_core::shed::{Policy, Priority, Shed, Shedder};
use mainstay_core::time::{Clock, micros};
use tokio::time::sleep;

/// Pause between two looks.
const PERIOD: Duration = Duration::from_millis(10);

/// The interval in which the delay has to fall below the target once, as a multiple of that. What comes in while the
/// next one is not judged yet has to be borne.
const INTERVAL: u32 = 5;

const PRIORITY: HeaderName = HeaderName::from_static("priority");

/// The queue of a server.
#[derive(Debug)]
pub(crate) struct Queue {
    clock: Clock,
    /// When the next look is due, in microseconds of the clock; 0 before the first.
    due: AtomicU64,
    /// By how many microseconds the last look was late.
    late: AtomicU64,
    shedder: Shedder,
    /// The target in microseconds; 0 sheds nothing.
    target: AtomicU64,
}

impl Queue {
    pub(crate) fn new(metrics: &Metrics, clock: Clock, target: Duration) -> Self {
        let shedder = Shedder::new("http", policy(target), metrics, clock.clone());
        Self {
            clock,
            due: AtomicU64::new(0),
            late: AtomicU64::new(0),
            shedder: shedder.expect("the name and the policy are sound"),
            target: AtomicU64::new(micros(target)),
        }
    }

    pub(crate) fn set_target(&self, target: Duration) {
        if self.target.swap(micros(target), Relaxed) != micros(target) {
            self.shedder.configure(policy(target)).expect("the policy is sound");
        }
    }

    /// Looks, for ever. Dropped, it leaves no look behind that would be overdue from then on.
    pub(crate) async fn watch(&self) -> Infallible {
        let _looking = Looking(self);
        loop {
            let due = self.clock.now() + PERIOD;
            self.due.store(due.as_micros(), Relaxed);
            sleep(PERIOD).await;
            self.late.store(micros(self.clock.now().saturating_since(due)), Relaxed);
        }
    }

    /// How long what begins now has waited, about.
    fn delay(&self) -> Duration {
        let due = self.due.load(Relaxed);
        let overdue = if due == 0 { 0 } else { self.clock.now().as_micros().saturating_sub(due) };
        Duration::from_micros(self.late.load(Relaxed).max(overdue))
    }

    /// Whether a request is served.
    pub(crate) fn admit(&self, request: &Request, is_probe: bool) -> Result<(), Shed> {
        if self.target.load(Relaxed) == 0 {
            return Ok(());
        }
        self.shedder.admit(priority(request, is_probe), self.delay())
    }
}

struct Looking<'a>(&'a Queue);

impl Drop for Looking<'_> {
    fn drop(&mut self) {
        self.0.due.store(0, Relaxed);
        self.0.late.store(0, Relaxed);
    }
}

/// Sound for every target.
fn policy(target: Duration) -> Policy {
    let mut policy = Policy::default();
    policy.target = target.clamp(Duration::from_millis(1), Duration::from_secs(60));
    policy.interval = policy.target * INTERVAL;
    policy
}

/// What watches and mends the service comes first. What a client calls less urgent than usual (RFC 9218: `u=4` to
/// `u=7`) comes last; nobody can make their own requests more important.
fn priority(request: &Request, is_probe: bool) -> Priority {
    if is_probe || request.uri().path().starts_with("/distributed/") {
        return Priority::Critical;
    }
    let asked = request.headers().get(PRIORITY).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let urgency = asked.split(',').find_map(|part| part.trim().strip_prefix("u=")?.parse::<u8>().ok());
    if urgency.is_some_and(|urgency| (4..=7).contains(&urgency)) { Priority::Low } else { Priority::Normal }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    fn of(path: &str, header: Option<&str>) -> Priority {
        let request = Request::builder().uri(path);
        let request = match header {
            Some(header) => request.header("priority", header),
            None => request,
        };
        priority(&request.body(Body::empty()).unwrap(), path == "/up")
    }

    #[test]
    fn operations_come_first_and_what_is_not_urgent_last() {
        assert_eq!(of("/distributed/info", Some("u=7")), Priority::Critical);
        assert_eq!(of("/up", Some("u=7")), Priority::Critical);
        assert_eq!(of("/api/users", None), Priority::Normal);
        for header in ["u=0", "u=3", "i", "u=9", "u=-1", "nonsense", ""] {
            assert_eq!(of("/api/users", Some(header)), Priority::Normal, "{header}");
        }
        for header in ["u=4", "i, u=7", "u=5,i"] {
            assert_eq!(of("/api/users", Some(header)), Priority::Low, "{header}");
        }
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_runtime_that_is_blocked_is_late_and_then_is_not() {
        let queue = Queue::new(&Metrics::new(), Clock::system(), Duration::from_millis(50));
        assert!(queue.delay().is_zero(), "nobody has looked yet");
        let watching = queue.watch();
        tokio::select! {
            never = watching => match never {},
            () = async {
                while queue.due.load(Relaxed) == 0 {
                    tokio::task::yield_now().await;
                }
                #[expect(clippy::disallowed_methods, reason = "what is shown is a thread that is blocked")]
                std::thread::sleep(Duration::from_millis(100));
                assert!(queue.delay() >= Duration::from_millis(80), "{:?}", queue.delay());
                while queue.delay() > Duration::from_millis(20) {
                    sleep(Duration::from_millis(1)).await;
                }
            } => {}
        }
        #[expect(clippy::disallowed_methods, reason = "what is shown is time that passes unwatched")]
        std::thread::sleep(Duration::from_millis(30));
        assert!(queue.delay().is_zero(), "nobody looks any more: {:?}", queue.delay());
    }
}
