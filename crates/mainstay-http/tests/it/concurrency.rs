//! The layer that limits how many requests are in flight: who is counted, and until when.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::response::Response;
use axum::routing::get;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::Request;
use http_body_util::BodyExt;
use mainstay_core::lock::{Locks, Memory, Options, Store};
use mainstay_core::metrics::{Format, Metrics};
use mainstay_core::rate_limit::Outage;
use mainstay_core::time::Clock;
use mainstay_http::{ConcurrencyLayer, ConcurrencyRule, TrustedProxies};
use mainstay_testkit::eventually_async;
use mainstay_testkit::faulty::lock::Faulty;
use mainstay_testkit::faulty::{Fault, Faults};
use tokio::sync::{Notify, Semaphore, mpsc};
use tower::ServiceExt;

/// A service whose answers begin when the test lets them, and end when their sender is dropped.
struct Rig {
    routes: Router,
    metrics: Metrics,
    entered: Arc<Notify>,
    begin: Arc<Semaphore>,
    bodies: mpsc::UnboundedReceiver<mpsc::Sender<Bytes>>,
}

fn rig(store: Arc<dyn Store>, rule: ConcurrencyRule) -> Rig {
    let (metrics, entered, begin) = (Metrics::new(), Arc::new(Notify::new()), Arc::new(Semaphore::new(0)));
    let locks = Locks::new(store, Options::default(), &metrics, Clock::system());
    let (sender, bodies) = mpsc::unbounded_channel();
    let (at_handler, gate) = (Arc::clone(&entered), Arc::clone(&begin));
    let handler = async move || {
        at_handler.notify_one();
        gate.acquire().await.unwrap().forget();
        let (body, mut frames) = mpsc::channel::<Bytes>(1);
        sender.send(body).unwrap();
        let frames = futures_util::stream::poll_fn(move |context| frames.poll_recv(context));
        Body::from_stream(futures_util::StreamExt::map(frames, Ok::<_, std::io::Error>))
    };
    let layer = ConcurrencyLayer::new(locks, rule, &metrics);
    Rig { routes: Router::new().route("/", get(handler)).route_layer(layer), metrics, entered, begin, bodies }
}

fn memory() -> Arc<dyn Store> {
    Arc::new(Memory::new(Clock::system()))
}

fn by_name(rule: ConcurrencyRule) -> ConcurrencyRule {
    rule.keyed_by_api_key(http::HeaderName::from_static("x-api-key"))
}

impl Rig {
    fn ask(&self, name: &str) -> BoxFuture<'static, Response> {
        let request = Request::get("/").header("x-api-key", name).body(Body::empty()).unwrap();
        self.routes.clone().oneshot(request).map(|answer| answer.unwrap()).boxed()
    }

    /// A request that got as far as its handler, or the answer that refused it.
    async fn enter(&self, name: &str) -> Result<BoxFuture<'static, Response>, Response> {
        let mut request = self.ask(name);
        tokio::select! {
            biased;
            answer = &mut request => Err(answer),
            () = self.entered.notified() => Ok(request),
        }
    }

    async fn enters_eventually(&self, name: &str) {
        let entered = async || self.enter(name).await.is_ok();
        eventually_async("another request is let in", Duration::from_secs(10), entered).await;
    }
}

#[tokio::test]
async fn each_client_has_as_many_in_flight_as_the_rule_says() {
    let rig = rig(memory(), by_name(ConcurrencyRule::per_client("export", 2)));
    let (first, _second) = (rig.enter("a").await.unwrap(), rig.enter("a").await.unwrap());
    let refused = rig.enter("a").await.err().unwrap();
    assert_eq!(
        (refused.status(), &refused.headers()["content-type"]),
        (429.try_into().unwrap(), &"application/problem+json".parse().unwrap())
    );
    let wait: u64 = refused.headers()["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=2).contains(&wait), "{wait}");
    let _other = rig.enter("b").await.unwrap();
    let rendered = rig.metrics.render(Format::Prometheus);
    assert!(rendered.contains("concurrency_in_flight{rule=\"export\"} 3"), "{rendered}");
    assert!(
        rendered.contains("concurrency_decisions_total{result=\"denied\",rule=\"export\"} 1"),
        "{rendered}"
    );

    drop(first);
    rig.enters_eventually("a").await;
}

#[tokio::test]
async fn a_rule_for_all_refuses_with_503_whoever_is_trusted() {
    let proxies = TrustedProxies::parse(["10.0.0.0/8"]).unwrap();
    let rule = ConcurrencyRule::for_all("report", 1);
    for rule in [rule.clone(), rule.trusting(proxies)] {
        let rig = rig(memory(), rule);
        let _first = rig.enter("a").await.unwrap();
        let refused = rig.enter("b").await.err().unwrap();
        assert_eq!(refused.status(), 503);
        assert!(refused.headers().contains_key("retry-after"));
    }
}

#[tokio::test]
async fn an_answer_counts_until_its_body_has_ended() {
    let mut rig = rig(memory(), by_name(ConcurrencyRule::per_client("export", 1)));
    for whole in [true, false] {
        rig.begin.add_permits(1);
        let mut answer = rig.ask("a").await;
        rig.entered.notified().await;
        assert_eq!(answer.status(), 200);
        let body = rig.bodies.recv().await.unwrap();
        body.send(Bytes::from_static(b"rows")).await.unwrap();
        assert!(answer.frame().await.unwrap().is_ok());
        assert_eq!(rig.enter("a").await.err().unwrap().status(), 429, "the body goes on");
        drop(body);
        if whole {
            assert!(answer.frame().await.is_none());
        } else {
            drop(answer);
        }
        rig.enters_eventually("a").await;
    }
}

#[tokio::test]
async fn processes_share_the_permits() {
    let store = memory();
    let rule = || by_name(ConcurrencyRule::per_client("export", 2));
    let (one, two) = (rig(Arc::clone(&store), rule()), rig(store, rule()));
    let _first = one.enter("a").await.unwrap();
    let second = two.enter("a").await.unwrap();
    assert!(one.enter("a").await.is_err() && two.enter("a").await.is_err());
    drop(second);
    one.enters_eventually("a").await;
}

#[tokio::test]
async fn while_the_store_is_away_each_process_lets_its_share_in() {
    let faults = Faults::none();
    let rule = by_name(ConcurrencyRule::per_client("export", 5)).instances(2);
    let rig = rig(Arc::new(Faulty::new(memory(), faults.clone())), rule);
    let first = rig.enter("a").await.unwrap();
    faults.always(Fault::Unavailable);
    let _second = rig.enter("a").await.unwrap();
    assert_eq!(rig.enter("a").await.err().unwrap().status(), 429, "half of five are two, and one was there");
    drop(first);
    let _third = rig.enter("a").await.unwrap();
    assert!(rig.enter("a").await.is_err());
    assert!(rig.metrics.render(Format::Prometheus).contains("concurrency_degraded_total{rule=\"export\"} 4"));
    faults.mend();
    let _fourth = rig.enter("a").await.unwrap();
}

#[tokio::test]
async fn a_rule_can_deny_or_allow_all_while_the_store_is_away() {
    let faults = Faults::none();
    faults.always(Fault::Unavailable);
    let away = || Arc::new(Faulty::new(memory(), faults.clone()));
    let rule = |outage| ConcurrencyRule::for_all("report", 1).on_outage(outage);
    let deny = rig(away(), rule(Outage::Deny));
    assert_eq!(deny.enter("a").await.err().unwrap().status(), 503);
    let allow = rig(away(), rule(Outage::Allow));
    let _all = (allow.enter("a").await.unwrap(), allow.enter("a").await.unwrap());
}

#[tokio::test]
async fn a_rule_that_makes_no_sense_is_a_fault_of_the_service() {
    for permits in [0, 10_001] {
        let rig = rig(memory(), ConcurrencyRule::for_all("report", permits));
        assert_eq!(rig.enter("a").await.err().unwrap().status(), 500);
    }
}
