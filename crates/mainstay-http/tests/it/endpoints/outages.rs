//! What clients read while the store of a primitive is away: nothing has happened (`503`), or perhaps
//! something has (`504`).

use mainstay_core::telemetry::{self, Options};
use mainstay_core::{cache, event, lock, rate_limit};
use mainstay_testkit::faulty::{self, Fault, Faults};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::*;
use crate::logs::Captured;

const CHANGES: [(&str, &str, Option<&str>); 5] = [
    ("POST", "/distributed/cache/a", Some(r#"{"value":1}"#)),
    ("DELETE", "/distributed/cache/a", None),
    ("POST", "/distributed/lock/a", Some(r#"{"retryAttempts":0}"#)),
    ("DELETE", "/distributed/lock/a", Some(r#"{"token":"00000000000000000000000000000000"}"#)),
    ("POST", "/distributed/events/a", None),
];
/// Of another key than those that were changed: what a change that failed is about is not read any more.
const READ: (&str, &str, Option<&str>) = ("GET", "/distributed/cache/b", None);

/// So that a test need not wait long for an answer that never comes.
const OP_TIMEOUT: Duration = Duration::from_millis(50);

/// Every primitive on a store that fails as it is told.
async fn on_faulty_stores() -> (Endpoints, Faults) {
    let (faults, metrics, clock) = (Faults::none(), Metrics::new(), Clock::system());
    let endpoints = endpoints_with(true, |state| {
        let mut options = cache::Options::default();
        options.op_timeout = OP_TIMEOUT;
        let store = Arc::new(cache::Memory::new(&options, clock.clone()));
        let store = Arc::new(faulty::cache::FaultyStore::new(store, faults.clone()));
        state.cache = Cache::new(store, options, &metrics, clock.clone());

        let store = Arc::new(lock::Memory::new(clock.clone()));
        let store = Arc::new(faulty::lock::Faulty::new(store, faults.clone()));
        let mut options = lock::Options::default();
        options.op_timeout = OP_TIMEOUT;
        state.locks = Locks::new(store, options, &metrics, clock.clone());

        let options = rate_limit::Options::default();
        let store = Arc::new(rate_limit::Memory::new(options.max_keys, clock.clone()));
        let store = Arc::new(faulty::rate_limit::Faulty::new(store, faults.clone()));
        state.rate_limiter = RateLimiter::new(store, options, &metrics, clock.clone());

        let mut options = event::Options::default();
        options.op_timeout = OP_TIMEOUT;
        let store = event::Memory::new(options.memory, clock.clone());
        let store = Arc::new(faulty::event::FaultyStore::new(store, faults.clone()));
        state.events = Events::new(store, options, &metrics, clock);
    });
    (endpoints.await, faults)
}

#[tokio::test]
async fn where_nothing_has_happened_the_client_may_come_back() {
    let (endpoints, faults) = on_faulty_stores().await;
    faults.always(Fault::Unavailable);
    for (method, path, body) in CHANGES.into_iter().chain([READ]) {
        let answer = endpoints.send(method, path, body).await;
        assert_problem(&answer, 503, "unavailable", None);
        assert_eq!(answer.header("retry-after"), Some("1"), "{method} {path}");
        assert!(!answer.text().contains("on purpose"), "causes are for the log");
    }
    faults.mend();
    assert_eq!(endpoints.send("POST", CHANGES[0].1, CHANGES[0].2).await.status, 201);
}

#[tokio::test]
async fn a_change_whose_client_hangs_up_is_in_the_log_all_the_same() {
    let log = Captured::default();
    let (subscriber, _telemetry) = telemetry::subscriber(Options::default().writer(log.clone())).unwrap();
    let _default = tracing::subscriber::set_default(subscriber);
    let (faults, metrics) = (Faults::none(), Metrics::new());
    let store = Arc::new(cache::Memory::new(&cache::Options::default(), Clock::system()));
    let store = Arc::new(faulty::cache::FaultyStore::new(store, faults.clone()));
    let mut patient = cache::Options::default();
    patient.op_timeout = PATIENCE;
    let cache = Cache::new(store, patient, &metrics, Clock::system());
    let endpoints = endpoints_with(true, |state| state.cache = cache).await;
    faults.always(Fault::Hang);
    let mut client = TcpStream::connect(endpoints.server.addr()).await.unwrap();
    client.write_all(b"DELETE /distributed/cache/a HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    eventually_async("the change has begun", PATIENCE, async || faults.calls() > 0).await;
    drop(client);
    let mut seen = String::new();
    eventually_async("the change is in the log", PATIENCE, async || {
        seen.push_str(&log.take());
        seen.contains("mainstay::audit") && seen.contains("/distributed/cache/a")
    })
    .await;
}

#[tokio::test]
async fn where_something_may_have_happened_the_client_is_told_so() {
    let (endpoints, faults) = on_faulty_stores().await;
    for fault in [Fault::LostRequest, Fault::LostReply] {
        faults.always(fault);
        for (method, path, body) in CHANGES {
            let answer = endpoints.send(method, path, body).await;
            assert_problem(&answer, 504, "outcome-unknown", None);
            assert_eq!(answer.header("retry-after"), None, "{method} {path}: to repeat it may be wrong");
        }
        let (method, path, body) = READ;
        assert_problem(&endpoints.send(method, path, body).await, 503, "unavailable", None);
    }
}

#[tokio::test]
async fn a_store_that_never_answers_does_not_keep_the_client() {
    let (endpoints, faults) = on_faulty_stores().await;
    faults.always(Fault::Hang);
    for (method, path, body) in CHANGES {
        assert_problem(&endpoints.send(method, path, body).await, 504, "outcome-unknown", None);
    }
}

#[tokio::test]
async fn without_its_store_the_limiter_counts_by_itself() {
    let (endpoints, faults) = on_faulty_stores().await;
    faults.always(Fault::Unavailable);
    let mut statuses = Vec::new();
    for _ in 0..11 {
        statuses.push(endpoints.get("/distributed/rate-limit/test").await.status);
    }
    assert_eq!(statuses, [[200; 10].as_slice(), &[429]].concat());
}
