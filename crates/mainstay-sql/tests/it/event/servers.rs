//! The store in the database of a server keeps the contract as well.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use jiff::Timestamp;
use mainstay_core::time::{Clock, Moment, Source};
use mainstay_sql::event::{Options, SqlEvents};
use mainstay_testkit::conformance::Elapse;
use mainstay_testkit::conformance::event::{Backend, suite};
use mainstay_testkit::sql::{Kind, SqlServer};

use super::open;

const CAPACITY: usize = 6;

/// A clock that goes on by what is asked of it, and beside that at a fifth of the pace: a receipt of a case stands for
/// as long as a loaded machine needs to ask a server.
#[derive(Debug)]
struct Slow {
    began: tokio::time::Instant,
    passed: AtomicU64,
}

impl Source for Slow {
    fn now(&self) -> Moment {
        let passed = Duration::from_micros(self.passed.load(Ordering::SeqCst));
        Moment::from_micros(3_600_000_000) + self.began.elapsed() / 5 + passed
    }

    fn wall(&self) -> Timestamp {
        let passed = i64::try_from(self.now().as_micros()).unwrap();
        Timestamp::from_microsecond(1_767_225_600_000_000 + passed).unwrap()
    }
}

async fn on_server(kind: Kind) {
    let server = SqlServer::shared(kind);
    // Made before the cases begin, which would wait for them.
    let urls = (0..suite().len()).map(|_| server.url(&server.database())).collect::<Vec<_>>();
    let open = |url: String| open(mainstay_sql::Options::from_url(&url).unwrap().pool_max(2));
    let databases = RefCell::new(join_all(urls.into_iter().map(open)).await);
    let fresh = async || {
        let db = databases.borrow_mut().pop().expect("as many as there are cases");
        let time = Arc::new(Slow { began: tokio::time::Instant::now(), passed: AtomicU64::new(0) });
        let mut options = Options::default();
        options.max_queue = CAPACITY;
        let store = Arc::new(SqlEvents::new(&db, options, Clock::of(time.clone())));
        let elapse = Elapse::of(move |by| {
            time.passed.fetch_add(u64::try_from(by.as_micros()).unwrap(), Ordering::SeqCst);
            std::future::ready(())
        });
        Backend { store, capacity: CAPACITY, retained: 1_000, elapse }
    };
    let failures = suite().failures_at_once(&fresh).await;
    assert!(failures.is_empty(), "broken:\n{}", failures.join("\n"));
}

#[cfg(feature = "postgres")]
#[tokio::test(flavor = "multi_thread")]
async fn a_postgresql_server_keeps_the_contract() {
    on_server(Kind::Postgres).await;
}

#[cfg(feature = "mysql")]
#[tokio::test(flavor = "multi_thread")]
async fn a_mariadb_server_keeps_the_contract() {
    on_server(Kind::MariaDb).await;
}
