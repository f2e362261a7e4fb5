use mainstay_client::Error;
use mainstay_core::breaker::{Mode, State};

use super::server::{Server, reply};
use super::{guarded, near, over, policy, try_client};

#[tokio::test]
async fn while_one_endpoint_fails_requests_go_to_the_others() {
    let good = |_: usize, _: &str| reply("200 OK", "", "");
    let (one, two) = (Server::start(good).await, Server::start(good).await);
    let broken = Server::start(|_, _| reply("500 Internal Server Error", "", "")).await;
    let urls = [one.url(), broken.url(), two.url()];
    let client = try_client(&urls, policy(), near()).unwrap();
    for _ in 0..100 {
        assert_eq!(client.get("/").send().await.unwrap().status(), 200);
    }
    assert_eq!(broken.seen().len(), 3, "then its breaker opened");
    assert!(one.seen().len() > 20 && two.seen().len() > 20);
    assert_eq!(client.pipeline().breaker().state(), State::Closed, "each has its own");
}

#[tokio::test]
async fn who_forces_the_breaker_of_a_pipeline_forces_those_of_its_endpoints() {
    let good = |_: usize, _: &str| reply("200 OK", "", "");
    let (one, two) = (Server::start(good).await, Server::start(good).await);
    let client = try_client(&[one.url(), two.url()], policy(), near()).unwrap();
    let breaker = client.pipeline().breaker();
    breaker.force(Mode::ForcedOpen);
    assert!(matches!(client.get("/").send().await, Err(Error::Open { .. })));
    assert!(one.seen().is_empty() && two.seen().is_empty());
    breaker.force(Mode::Automatic);
    assert_eq!(client.get("/").send().await.unwrap().status(), 200);
}

#[tokio::test]
async fn endpoints_begin_in_the_mode_of_their_pipeline_and_are_reset_with_it() {
    let server = Server::start(|number, _| match number {
        1..=6 => reply("500 Internal Server Error", "", ""),
        _ => reply("200 OK", "", ""),
    })
    .await;
    let urls = [server.url(), server.url()];
    let (breakers, pipeline) = guarded(policy());
    pipeline.breaker().force(Mode::ForcedOpen);
    let client = over(&urls, &pipeline, &breakers);
    assert!(matches!(client.get("/").send().await, Err(Error::Open { .. })));
    pipeline.breaker().force(Mode::Automatic);
    while client.get("/").send().await.is_ok() {}
    pipeline.breaker().reset();
    assert_eq!(client.get("/").send().await.unwrap().status(), 200);
}
