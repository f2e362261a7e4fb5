//! Promises of `RedisServer::step_clock`.

use mainstay_testkit::redis::RedisServer;

async fn seconds(server: &RedisServer) -> f64 {
    let time = server.command(&["TIME"]).await;
    let (seconds, micros) = time.split_once('\n').unwrap();
    seconds.parse::<f64>().unwrap() + micros.parse::<f64>().unwrap() / 1e6
}

#[tokio::test]
async fn the_clock_of_a_live_server_steps_forward_and_back() {
    let mut shimmed = RedisServer::builder().clock_shim().start().await;
    let plain = RedisServer::start().await;
    // Both are asked in turn; a loaded machine takes some time between the two.
    let offset = async |shimmed: &RedisServer| seconds(shimmed).await - seconds(&plain).await;
    assert!(offset(&shimmed).await.abs() < 10.0);
    shimmed.step_clock(60.0);
    assert!((offset(&shimmed).await - 60.0).abs() < 10.0);
    shimmed.step_clock(-3_600.5);
    assert!((offset(&shimmed).await + 3_540.5).abs() < 10.0);

    // Expiry follows it, and a restart keeps it.
    shimmed.command(&["SET", "key", "value", "EX", "1000"]).await;
    shimmed.step_clock(999_999.0);
    assert_eq!(shimmed.command(&["GET", "key"]).await, "(nil)");
    shimmed.restart().await;
    assert!(offset(&shimmed).await > 990_000.0);
}

#[tokio::test]
#[should_panic(expected = "started with `clock_shim`")]
async fn a_server_without_the_shim_has_the_machines_clock() {
    RedisServer::start().await.step_clock(1.0);
}
