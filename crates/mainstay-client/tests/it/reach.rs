use mainstay_client::{Error, Options};

use super::server::{Server, reply};
use super::{client, near, policy, try_client};

#[tokio::test]
async fn a_path_is_a_path_and_stays_below_the_endpoint() {
    let server = Server::start(|_, _| reply("200 OK", "", "")).await;
    let client = client(&format!("{}/base", server.url()));
    for path in ["//evil.example/x", "http://evil.example/x", "@evil.example", "a?b#c", "\\\\evil.example"] {
        client.get(path).query("q", "a&b").send().await.unwrap();
    }
    for path in ["..", "../admin", "a/../../admin", "%2e%2e/admin", "a/%2E%2E/..", "..\\admin"] {
        let error = client.get(path).send().await.unwrap_err();
        assert!(matches!(error, Error::Invalid { .. }), "{path}: {error:?}");
    }
    let seen = server.seen();
    assert_eq!(seen.len(), 5);
    for request in seen {
        assert!(request.starts_with("GET /base/"), "{request}");
        assert!(request.lines().next().unwrap().ends_with("?q=a%26b HTTP/1.1"), "{request}");
    }
}

#[tokio::test]
async fn headers_that_belong_to_the_connection_are_refused() {
    let server = Server::start(|_, _| reply("200 OK", "", "")).await;
    for (name, value) in [
        ("host", "evil"),
        ("Content-Length", "1"),
        ("x", "a\r\nb: c"),
        ("a b", "c"),
        ("Upgrade", "h2c"),
        ("te", "trailers"),
        ("keep-alive", "9"),
    ] {
        let error = client(&server.url()).get("/").header(name, value).send().await.unwrap_err();
        assert!(matches!(error, Error::Invalid { .. }), "{name}: {error:?}");
    }
    assert!(server.seen().is_empty());
}

#[tokio::test]
async fn an_endpoint_out_of_reach_is_refused_when_the_client_is_made_or_its_name_resolved() {
    for url in [
        "http://127.0.0.1:1",
        "http://[::1]/",
        "http://169.254.169.254/",
        "http://[::ffff:10.0.0.1]/",
        "http://2130706433/",
    ] {
        let refused = try_client(&[url.to_owned()], policy(), Options::default());
        assert!(matches!(refused, Err(Error::OutOfReach { .. })), "{url}");
    }
    let metadata = try_client(&["http://169.254.169.254/".to_owned()], policy(), near());
    assert!(matches!(metadata, Err(Error::OutOfReach { .. })));
    let named = try_client(&["http://localhost:1".to_owned()], policy(), Options::default()).unwrap();
    let error = named.get("/").send().await.unwrap_err();
    assert!(matches!(&error, Error::OutOfReach { reason } if reason.contains("localhost")), "{error:?}");
}

#[test]
fn what_is_no_endpoint_is_refused() {
    for url in
        ["ftp://a", "http://a/?q=1", "http://a/#f", "file:///etc/passwd", "data:,x", "http://me:secret@a/"]
    {
        let error = try_client(&[url.to_owned()], policy(), near()).unwrap_err();
        assert!(matches!(error, Error::Invalid { .. }), "{url}");
        assert!(!error.to_string().contains("secret"), "{error}");
    }
    assert!(matches!(try_client(&[], policy(), near()), Err(Error::Invalid { .. })));
}

#[tokio::test]
async fn a_redirect_is_followed_in_reach_and_refused_out_of_it() {
    let target = Server::start(|_, _| reply("200 OK", "", "there")).await;
    let there = target.url();
    let server = Server::start(move |_, request| match request {
        _ if request.contains("/good") => reply("302 Found", &format!("location: {there}/x\r\n"), ""),
        _ if request.contains("/loop") => reply("302 Found", "location: /loop\r\n", ""),
        _ => reply("302 Found", "location: http://169.254.169.254/latest/meta-data\r\n", ""),
    })
    .await;
    let client = client(&server.url());
    assert_eq!(client.get("/good").send().await.unwrap().body(), "there");
    let error = client.get("/bad").send().await.unwrap_err();
    assert!(matches!(error, Error::OutOfReach { .. }), "{error:?}");
    assert_eq!(client.get("/loop").send().await.unwrap().status(), 302, "followed three times");
}
