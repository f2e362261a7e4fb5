//! What an app is made of: components and their doubles, endpoints, two apps in one process.

use std::path::Path;
use std::sync::{Arc, OnceLock};

use mainstay::axum::Router;
use mainstay::axum::routing::{get, post};
use mainstay::config::{Config, Identity};
use mainstay::container::Dep;
use mainstay::health::Check;
use mainstay::http::{Routes, Rule};
use mainstay::sql::Migrations;
use mainstay::{ServeError, StartError};
use mainstay_testkit::eventually_async;
use mainstay_testkit::http::Request;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::support::{PATIENCE, Running, builder, closed, free_addr, status};

trait Greeter: Send + Sync {
    fn greet(&self) -> &'static str;
}

struct Real;
impl Greeter for Real {
    fn greet(&self) -> &'static str {
        "real"
    }
}

struct Double;
impl Greeter for Double {
    fn greet(&self) -> &'static str {
        "double"
    }
}

#[tokio::test]
async fn a_test_puts_a_double_in_the_place_of_a_component() {
    let service = || {
        builder(&[]).provide(|container| {
            container.provide_dyn(|| async { Arc::new(Real) as Arc<dyn Greeter> });
        })
    };
    let app = service().start().await.unwrap();
    assert_eq!(app.container().resolve::<dyn Greeter>().unwrap().greet(), "real");
    let double = service().provide(|container| {
        container.override_with(|test| {
            test.value_dyn(Arc::new(Double) as Arc<dyn Greeter>);
        });
    });
    let app = double.start().await.unwrap();
    assert_eq!(app.container().resolve::<dyn Greeter>().unwrap().greet(), "double");
}

#[tokio::test]
async fn two_apps_side_by_side_share_no_metrics_health_or_configuration() {
    let one = Running::start(builder(&[("SERVICE_NAME", "one")]), Router::new()).await;
    let two = Running::start(builder(&[("SERVICE_NAME", "two")]), Router::new()).await;
    one.app.metrics().counter("only_in_one_total").increment(1);
    let failing = || async { Err::<(), _>(std::io::Error::other("down")) };
    one.app.health().register(Check::new("only-in-one", failing).critical()).unwrap();
    one.app.config().update("server.body_limit", 1).unwrap();

    let metrics = async |addr| Request::get(addr, "/metrics").send().await.text();
    assert!(metrics(one.addr).await.contains("only_in_one_total 1"));
    assert!(!metrics(two.addr).await.contains("only_in_one"));
    let health = async |addr| Request::get(addr, "/health").send().await.json();
    assert!(health(one.addr).await["checks"]["only-in-one"].is_object());
    assert!(health(two.addr).await["checks"]["only-in-one"].is_null());
    assert_eq!(two.app.config().get::<Identity>().service_name, "two");
    assert_eq!(two.app.config().version(), 0);

    let two_addr = two.addr;
    one.stop().await.unwrap();
    assert_eq!(status(two_addr, "/distributed/ready").await, 200);
    two.stop().await.unwrap();
}

#[tokio::test]
async fn an_endpoint_that_is_switched_off_does_not_exist() {
    let off = [("METRICS_ENABLED", "false"), ("HEALTH_CHECK_ENABLED", "false")];
    let running = Running::start(builder(&off), Router::new()).await;
    for path in
        ["/metrics", "/distributed/metrics", "/distributed/metrics/json", "/health", "/distributed/health"]
    {
        assert_eq!(status(running.addr, path).await, 404, "{path}");
    }
    assert_eq!(status(running.addr, "/distributed/live").await, 200);
    running.stop().await.unwrap();
}

#[tokio::test]
async fn an_alias_on_a_route_that_exists_is_an_error_and_not_a_panic() {
    for path in ["/hello", "/docs/", "/openapi.json", "/docs"] {
        let app = builder(&[("HEALTH_CHECK_PATH", path), ("PORT", "0")]).start().await.unwrap();
        let routes = Router::new().route("/hello", get(async || "hello"));
        let error = app.serve(Routes::new().all(Rule::Public, routes)).await.unwrap_err();
        assert!(matches!(error, ServeError::Routes { .. } | ServeError::PathTaken { .. }), "{error:?}");
        assert!(error.to_string().contains("HEALTH_CHECK_PATH"), "{error}");
    }
}

#[tokio::test]
async fn a_component_that_fails_to_start_stops_the_others_and_nothing_listens() {
    struct First;
    struct Second;
    let (stopped, mut stops) = tokio::sync::mpsc::unbounded_channel();
    let addr = free_addr();
    let port = addr.port().to_string();
    let app = builder(&[("PORT", &port)])
        .provide(move |container| {
            container.provide(|| async { First }).on_start(|_| async {}).on_stop(move |_| {
                stopped.send("first").unwrap();
                async {}
            });
            container
                .provide(|_: Dep<First>| async { Second })
                .on_start(|_| async { Err::<(), _>(std::io::Error::other("no licence")) });
        })
        .start()
        .await
        .unwrap();
    let error = app.serve(Routes::new()).await.unwrap_err();
    assert!(matches!(error, ServeError::Start(_)), "{error:?}");
    assert!(error.to_string().contains("Second") && error.to_string().contains("no licence"), "{error}");
    assert_eq!(stops.recv().await, Some("first"));
    closed(addr).await;
}

#[tokio::test]
async fn a_limit_that_changes_while_components_start_holds_from_the_first_request() {
    struct Slow;
    let config = Arc::new(OnceLock::<Config>::new());
    let changed = Arc::clone(&config);
    let addr = free_addr();
    let app = builder(&[("PORT", &addr.port().to_string())])
        .provide(move |container| {
            container.provide(|| async { Slow }).on_start(move |_| {
                changed.get().unwrap().update("server.body_limit", 10).unwrap();
                async {}
            });
        })
        .start()
        .await
        .unwrap();
    assert!(config.set(app.config().clone()).is_ok());
    let routes = Router::new().route("/take", post(async |body: String| body));
    let running = Running::serve(app, addr, routes).await;
    for (length, status) in [(10, 200), (11, 413)] {
        let answer = Request::post(addr, "/take").body("x".repeat(length)).send().await;
        assert_eq!(answer.status, status, "{length}");
    }
    running.stop().await.unwrap();
}

#[tokio::test]
async fn the_process_may_open_a_file_for_every_connection_it_may_have() {
    let soft = |most| {
        let limit = Rlimit { current: Some(most), ..getrlimit(Resource::Nofile) };
        setrlimit(Resource::Nofile, limit).unwrap();
    };
    let may_open = || getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    soft(1_500);
    let running = Running::start(builder(&[("MAX_CONNECTIONS", "2000")]), Router::new()).await;
    assert!(may_open() > 2_000, "{}", may_open());
    running.app.config().update("server.max_connections", 2_500).unwrap();
    eventually_async("they follow", PATIENCE, async || may_open() > 2_500).await;
    running.stop().await.unwrap();
}

/// Open files of this process below `directory`.
fn open_files(directory: &Path) -> usize {
    let files = std::fs::read_dir("/proc/self/fd").unwrap().filter_map(Result::ok);
    files
        .filter_map(|file| std::fs::read_link(file.path()).ok())
        .filter(|file| file.starts_with(directory))
        .count()
}

#[tokio::test]
async fn dropping_an_app_or_failing_to_start_one_closes_the_database() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().canonicalize().unwrap().join("probe.db");
    let service = || {
        builder(&[("DB_DIALECT", "sqlite"), ("DB_NAME", file.to_str().unwrap())])
            .database(Migrations::new([]))
    };
    let closed = async || {
        eventually_async("the file is closed", PATIENCE, async || open_files(file.parent().unwrap()) == 0)
            .await;
    };

    let app = service().start().await.unwrap();
    assert!(open_files(file.parent().unwrap()) > 0);
    drop(app);
    closed().await;

    let broken = service().provide(|container| {
        container.try_provide(|| async { Err::<u8, _>(std::io::Error::other("no")) });
    });
    assert!(matches!(broken.start().await.unwrap_err(), StartError::Container(_)));
    closed().await;
}
