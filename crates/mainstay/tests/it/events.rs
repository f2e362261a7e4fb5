//! The event bus as an app wires it: the same service on every store, and what operators see of it.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use mainstay::axum::Router;
use mainstay::axum::extract::State;
use mainstay::axum::response::Response;
use mainstay::axum::routing::get;
use mainstay::event::{self, Event, Events, Outcome, Subscription};
use mainstay::http::{EventStreams, LastEventId, Problem};
use mainstay::sql::{Migration, Migrations};
use mainstay::{Builder, Mainstay};
use mainstay_testkit::eventually_async;
use mainstay_testkit::http::Request;
use mainstay_testkit::redis::RedisServer;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::{PATIENCE, Running, builder, free_addr};

const LEDGER: Migration = Migration::sql(1, "ledger", "CREATE TABLE ledger (id BIGINT PRIMARY KEY)");

/// Where a service has its events.
struct Place {
    variables: Vec<(String, String)>,
    has_database: bool,
    _directory: TempDir,
}

impl Place {
    fn new(has_database: bool, variables: &[(&str, &str)]) -> Self {
        let directory = TempDir::new().unwrap();
        let url = format!("sqlite://{}", directory.path().join("probe.db").display());
        let variables =
            variables.iter().copied().chain(has_database.then_some(("DATABASE_URL", url.as_str())));
        let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        Self { variables, has_database, _directory: directory }
    }

    fn memory() -> Self {
        Self::new(false, &[])
    }

    fn sqlite() -> Self {
        Self::new(true, &[])
    }

    fn redis(server: &RedisServer, has_database: bool) -> Self {
        Self::new(has_database, &[("REDIS_URL", &server.url())])
    }

    fn builder(&self, more: &[(&str, &str)]) -> Builder {
        let own = self.variables.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let builder = builder(&own.chain(more.iter().copied()).collect::<Vec<_>>());
        if self.has_database { builder.database(Migrations::new([LEDGER])) } else { builder }
    }
}

/// What handlers were given.
#[derive(Debug, Clone, Default)]
struct Heard(Arc<Mutex<Vec<i64>>>);

impl Heard {
    /// Handles what is not negative, and gives the rest up.
    async fn subscribe(&self, events: &Events, group: &'static str) -> Subscription {
        let heard = self.clone();
        let handler = move |event: Event<i64>| {
            let heard = heard.clone();
            async move {
                if event.data < 0 {
                    return Outcome::Reject { reason: format!("{} is negative", event.data) };
                }
                heard.0.lock().unwrap().push(event.data);
                Outcome::Done
            }
        };
        events.on("number.*").group(group).handle(handler).await.unwrap()
    }

    fn numbers(&self) -> Vec<i64> {
        self.0.lock().unwrap().clone()
    }

    async fn hears(&self, expected: impl IntoIterator<Item = i64>) {
        let expected: BTreeSet<i64> = expected.into_iter().collect();
        eventually_async("everything is heard", PATIENCE, async || {
            self.numbers().into_iter().collect::<BTreeSet<_>>().is_superset(&expected)
        })
        .await;
    }
}

/// What every service may rely on, wherever its events are.
async fn serves_its_groups_and_its_operators(place: &Place, store: &str) {
    let (one, other) = (Heard::default(), Heard::default());
    let running = Running::start(place.builder(&[]), Router::new()).await;
    let events = running.app.events();
    one.subscribe(events, "one").await;
    other.subscribe(events, "other").await;
    for number in 0..20 {
        events.publish("number.drawn", &number).await.unwrap();
    }
    one.hears(0..20).await;
    other.hears(0..20).await;
    assert_eq!((one.numbers().len(), other.numbers().len()), (20, 20));

    let standing = async || Request::get(running.addr, "/distributed/events").send().await.json();
    events.publish("number.drawn", &-7).await.unwrap();
    eventually_async("each group has given it up", PATIENCE, async || {
        standing().await["deadLetters"].as_array().unwrap().len() == 2
    })
    .await;
    let standing = standing().await;
    assert_eq!(standing["store"], store);
    let letter = &standing["deadLetters"][0];
    assert_eq!((&letter["type"], &letter["cause"]), (&json!("number.drawn"), &json!("-7 is negative")));
    let id = letter["id"].as_str().unwrap().replace('/', "%2F");
    let path = format!("/distributed/events/dead-letters/{id}/redrive");
    assert_eq!(Request::post(running.addr, path).send().await.status, 200);

    let info = Request::get(running.addr, "/distributed/info").send().await.json();
    let parts = info["components"].as_array().unwrap();
    assert_eq!(parts.iter().find(|part| part["name"] == "events").unwrap()["backend"], store);
    running.stop().await.unwrap();
}

#[tokio::test]
async fn in_memory_a_service_serves_its_groups_and_its_operators() {
    serves_its_groups_and_its_operators(&Place::memory(), "memory").await;
}

#[tokio::test]
async fn on_redis_a_service_serves_its_groups_and_its_operators() {
    let server = RedisServer::start().await;
    serves_its_groups_and_its_operators(&Place::redis(&server, false), "redis").await;
}

#[tokio::test]
async fn on_sqlite_a_service_serves_its_groups_and_its_operators() {
    serves_its_groups_and_its_operators(&Place::sqlite(), "sqlite").await;
}

/// An event is as good as the transaction it was published in, and outlives who published it.
async fn publishes_with_its_transactions_and_survives_a_restart(place: &Place) {
    let app = place.builder(&[]).start().await.unwrap();
    // The group is known from now on, and nobody is at work for it.
    Heard::default().subscribe(app.events(), "one").await.stop(PATIENCE).await.unwrap();
    for (number, commits) in [(1, true), (2, false), (3, true)] {
        let mut tx = app.database().unwrap().begin().await.unwrap();
        tx.query("INSERT INTO ledger (id) VALUES (?)").bind(number).execute().await.unwrap();
        app.events().event("number.drawn").publish_in(&mut tx, &number).await.unwrap();
        if commits {
            tx.commit().await.unwrap();
        } else {
            tx.rollback().await.unwrap();
        }
    }
    end(app).await;

    let app = place.builder(&[]).start().await.unwrap();
    let heard = Heard::default();
    let _subscription = heard.subscribe(app.events(), "one").await;
    app.events().publish("number.drawn", &4).await.unwrap();
    heard.hears([1, 3, 4]).await;
    assert!(!heard.numbers().contains(&2), "{heard:?}");
    end(app).await;
}

/// As a service that is stopped.
async fn end(app: Mainstay) {
    app.lifecycle().request_shutdown("the test says so");
    assert!(app.lifecycle().run_shutdown().await.is_clean());
}

#[tokio::test]
async fn on_sqlite_events_are_published_with_their_transaction_and_survive_a_restart() {
    publishes_with_its_transactions_and_survives_a_restart(&Place::sqlite()).await;
}

#[tokio::test]
async fn on_redis_events_are_published_with_their_transaction_and_survive_a_restart() {
    let server = RedisServer::start().await;
    publishes_with_its_transactions_and_survives_a_restart(&Place::redis(&server, true)).await;
}

#[tokio::test]
async fn what_commits_while_redis_dies_is_handled_when_it_is_back() {
    let mut server = RedisServer::builder().aof_always().start().await;
    let place = Place::redis(&server, true);
    // What dies with the answer of a server is due again after that time.
    let running = Running::start(place.builder(&[("EVENTS_VISIBILITY", "1s")]), Router::new()).await;
    let (app, heard) = (&running.app, Heard::default());
    heard.subscribe(app.events(), "one").await;
    for number in 0..40 {
        match number {
            10 => server.kill(),
            20 => server.restart().await,
            30 => server.kill(),
            _ => {}
        }
        let mut tx = app.database().unwrap().begin().await.unwrap();
        tx.query("INSERT INTO ledger (id) VALUES (?)").bind(number).execute().await.unwrap();
        app.events().event("number.drawn").publish_in(&mut tx, &number).await.unwrap();
        tx.commit().await.unwrap();
    }
    let refused = app.events().publish("number.drawn", &99).await.unwrap_err();
    assert!(matches!(refused, event::Error::Unavailable(_) | event::Error::Unknown { .. }), "{refused}");
    let standing = Request::get(running.addr, "/distributed/events").send().await;
    assert_eq!(standing.status, 503, "whoever asks is not kept waiting");
    server.restart().await;
    heard.hears(0..40).await;
    let waiting = async || {
        let standing = Request::get(running.addr, "/distributed/events").send().await;
        (standing.status == 200).then(|| standing.json()["outbox"].clone())
    };
    let nothing = Some(json!({"waiting": 0, "oldestAge": null}));
    eventually_async("nothing waits any more", PATIENCE, async || waiting().await == nothing).await;
    running.stop().await.unwrap();
}

#[tokio::test]
async fn events_that_wait_for_redis_degrade_the_service_and_are_relayed_by_the_next_process() {
    let mut server = RedisServer::builder().aof_always().start().await;
    let place = Place::redis(&server, true);
    let impatient = [("EVENTS_DEGRADED_AFTER", "100ms"), ("HEALTH_CHECK_INTERVAL", "50ms")];
    let running = Running::start(place.builder(&impatient), Router::new()).await;
    let app = &running.app;
    Heard::default().subscribe(app.events(), "one").await.stop(PATIENCE).await.unwrap();
    server.kill();
    let mut tx = app.database().unwrap().begin().await.unwrap();
    app.events().event("number.drawn").publish_in(&mut tx, &1).await.unwrap();
    tx.commit().await.unwrap();
    eventually_async("it is noticed", PATIENCE, async || {
        let health = Request::get(running.addr, "/distributed/health").send().await;
        health.status == 200 && health.json()["checks"]["events"].to_string().contains("outbox")
    })
    .await;
    assert_eq!(Request::get(running.addr, "/distributed/ready").send().await.status, 200);
    running.stop().await.unwrap();

    server.restart().await;
    let app = place.builder(&[]).start().await.unwrap();
    let heard = Heard::default();
    let _subscription = heard.subscribe(app.events(), "one").await;
    heard.hears([1]).await;
    end(app).await;
}

#[tokio::test]
async fn two_instances_on_one_database_share_the_work_of_a_group() {
    share_the_work_of_a_group(&Place::sqlite()).await;
}

#[tokio::test]
async fn two_instances_on_one_redis_share_the_work_of_a_group() {
    let server = RedisServer::start().await;
    share_the_work_of_a_group(&Place::redis(&server, false)).await;
}

async fn share_the_work_of_a_group(place: &Place) {
    let (one, two) = (place.builder(&[]).start().await.unwrap(), place.builder(&[]).start().await.unwrap());
    let heard = Heard::default();
    for app in [&one, &two] {
        heard.subscribe(app.events(), "one").await;
    }
    for number in 0..20 {
        let app = if number % 2 == 0 { &one } else { &two };
        app.events().publish("number.drawn", &number).await.unwrap();
    }
    heard.hears(0..20).await;
    assert_eq!(heard.numbers().len(), 20, "each once");
    end(one).await;
    end(two).await;
}

#[tokio::test]
async fn the_tables_of_events_and_sessions_come_by_themselves_beside_the_services_own() {
    let place = Place::sqlite();
    // A version that the service has chosen by date sorts behind them.
    let dated = Migration::sql(20_260_101_000_000, "dated", "CREATE TABLE dated (id BIGINT PRIMARY KEY)");
    let app = place.builder(&[]).database(Migrations::new([LEDGER, dated])).start().await.unwrap();
    let database = app.database().unwrap();
    let rows =
        database.query("SELECT version FROM _sqlx_migrations ORDER BY version").fetch_all().await.unwrap();
    let versions: Vec<i64> = rows.iter().map(|row| row.get("version").unwrap()).collect();
    assert_eq!(versions, [1, 1_000_000_001, 1_000_000_002, 1_000_000_003, 1_000_000_101, 20_260_101_000_000]);
    end(app).await;
}

#[tokio::test]
async fn a_group_that_does_not_keep_up_degrades_the_service_and_takes_it_out_of_nothing() {
    let impatient = [("EVENTS_DEGRADED_AFTER", "50ms"), ("HEALTH_CHECK_INTERVAL", "50ms")];
    let running = Running::start(Place::memory().builder(&impatient), Router::new()).await;
    let check = async || {
        let health = Request::get(running.addr, "/distributed/health").send().await;
        (health.status, health.json()["checks"]["events"].clone())
    };
    eventually_async("it has been looked", PATIENCE, async || check().await.1["status"] == "healthy").await;
    let (open, gate) = tokio::sync::watch::channel(false);
    let handler = move |_: Event<Value>| {
        let mut gate = gate.clone();
        async move { gate.wait_for(|open| *open).await.map(drop) }
    };
    running.app.events().on("number.*").group("slow").handle(handler).await.unwrap();
    running.app.events().publish("number.drawn", &1).await.unwrap();
    eventually_async("it is noticed", PATIENCE, async || {
        let (status, check) = check().await;
        status == 200 && check["status"] == "degraded" && check.to_string().contains("group slow")
    })
    .await;
    assert_eq!(Request::get(running.addr, "/distributed/ready").send().await.status, 200);
    open.send(true).unwrap();
    eventually_async("it is well again", PATIENCE, async || check().await.1["status"] == "healthy").await;
    running.stop().await.unwrap();
}

async fn numbers(
    State((streams, events)): State<(EventStreams, Events)>,
    last: LastEventId,
) -> Result<Response, Problem> {
    streams.feed(&events, "number.*", last, |event| Some(event.to_cloud_event())).await
}

/// A client reads a stream on one instance, which stops, and goes on at another.
async fn streams_to_a_client_across_a_restart(place: &Place) {
    let start = async || {
        let addr = free_addr();
        let port = addr.port().to_string();
        let app = place.builder(&[("PORT", &port)]).start().await.unwrap();
        let state = (app.event_streams().clone(), app.events().clone());
        let routes = Router::new().route("/numbers", get(numbers)).with_state(state);
        Running::serve(app, addr, routes).await
    };
    let running = start().await;
    let mut client = TcpStream::connect(running.addr).await.unwrap();
    client.write_all(b"GET /numbers HTTP/1.1\r\nhost: test\r\n\r\n").await.unwrap();
    let mut text = until(&mut client, "retry:").await;
    let id = running.app.events().publish("number.drawn", &1).await.unwrap();
    text += &until(&mut client, "\"data\":1}\n\n").await;
    assert!(text.contains(&format!("id: {id}\n")), "{text}");

    let events = running.app.events().clone();
    events.publish("number.drawn", &2).await.unwrap();
    running.stop().await.expect("a stream does not hold a shutdown up");
    let mut rest = String::new();
    client.read_to_string(&mut rest).await.unwrap();
    assert!(rest.ends_with("0\r\n\r\n"), "the stream has an end: {rest}");

    let running = start().await;
    let mut client = TcpStream::connect(running.addr).await.unwrap();
    let request = format!("GET /numbers HTTP/1.1\r\nhost: test\r\nlast-event-id: {id}\r\n\r\n");
    client.write_all(request.as_bytes()).await.unwrap();
    let text = until(&mut client, "\"data\":2}\n\n").await;
    assert!(!text.contains("reset") && !text.contains("\"data\":1}"), "{text}");
    drop(client);
    running.stop().await.unwrap();
}

async fn until(client: &mut TcpStream, what: &str) -> String {
    let mut text = String::new();
    while !text.contains(what) {
        let mut bytes = [0; 4096];
        let count = tokio::time::timeout(PATIENCE, client.read(&mut bytes)).await.unwrap().unwrap();
        assert!(count > 0, "no {what:?} in {text}");
        text.push_str(std::str::from_utf8(&bytes[..count]).unwrap());
    }
    text
}

#[tokio::test]
async fn on_redis_a_client_goes_on_at_the_next_instance_where_it_was() {
    let server = RedisServer::start().await;
    streams_to_a_client_across_a_restart(&Place::redis(&server, false)).await;
}

#[tokio::test]
async fn on_sqlite_a_client_goes_on_at_the_next_instance_where_it_was() {
    streams_to_a_client_across_a_restart(&Place::sqlite()).await;
}
