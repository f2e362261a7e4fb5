use mainstay_core::breaker::State;

use super::server::{Server, reply};
use super::{near, policy, try_client};

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
