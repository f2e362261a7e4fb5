//! How an app ends.

use std::future::pending;
use std::time::Duration;

use mainstay::ServeError;
use mainstay::axum::Router;
use mainstay::axum::routing::get;
use mainstay::lifecycle::Outcome;
use mainstay_testkit::http::Request;

use crate::support::{Running, builder, closed};

struct Component;

#[tokio::test]
async fn a_component_that_hangs_while_it_stops_is_named_and_holds_up_nothing_for_long() {
    let hangs = builder(&[("SHUTDOWN_TIMEOUT", "500")]).provide(|container| {
        container.provide(|| async { Component }).on_stop(|_| pending::<()>());
    });
    let running = Running::start(hangs, Router::new()).await;
    let (app, addr) = (running.app.clone(), running.addr);
    assert!(matches!(running.stop().await, Err(ServeError::Unclean)));
    let report = app.lifecycle().run_shutdown().await;
    let names: Vec<&str> = report
        .steps
        .iter()
        .filter(|entry| matches!(entry.outcome, Outcome::Overran))
        .map(|entry| entry.name.as_str())
        .collect();
    assert_eq!(names, ["components"]);
    closed(addr).await;
}

#[tokio::test]
async fn a_request_that_never_ends_leaves_components_time_to_stop() {
    let (stopped, mut stops) = tokio::sync::mpsc::unbounded_channel();
    let (arrived, mut arrivals) = tokio::sync::mpsc::unbounded_channel();
    let service =
        builder(&[("SHUTDOWN_TIMEOUT", "2000"), ("DRAIN_DELAY", "1000")]).provide(move |container| {
            container.provide(|| async { Component }).on_stop(move |_| {
                stopped.send("stopped").unwrap();
                async {}
            });
        });
    let hang = async move || {
        arrived.send(()).unwrap();
        pending::<()>().await;
    };
    let running = Running::start(service, Router::new().route("/hangs", get(hang))).await;
    let addr = running.addr;
    let client = tokio::spawn(async move {
        Request::get(addr, "/hangs").deadline(Duration::from_secs(20)).try_send().await
    });
    arrivals.recv().await.unwrap();
    assert!(matches!(running.stop().await, Err(ServeError::Unclean)));
    assert_eq!(stops.recv().await, Some("stopped"));
    assert!(client.await.unwrap().is_err());
}
