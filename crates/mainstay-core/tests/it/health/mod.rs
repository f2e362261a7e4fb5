//! Health: how probes run (`probes`), what the endpoints answer (`answers`) and the built-in checks
//! (`checks`).

mod answers;
mod checks;
mod probes;

use std::time::Duration;

use mainstay_core::health::{CheckReport, Health, Identity, Options};
use tokio_util::sync::CancellationToken;

const SECOND: Duration = Duration::from_secs(1);

/// Every second sharp, so that a test can count the runs.
fn each_second() -> Options {
    let mut options = Options::default();
    options.interval = SECOND;
    options.jitter = 0.0;
    options
}

fn health(options: Options) -> Health {
    Health::new(options, Identity::default())
}

fn forever() -> CancellationToken {
    CancellationToken::new()
}

fn check_of(health: &Health, name: &str) -> CheckReport {
    health.report().checks.remove(name).expect("the check is registered")
}

/// Waits for a condition; the limit only ends a test that has failed.
async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let wait = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    assert!(tokio::time::timeout(20 * SECOND, wait).await.is_ok(), "never happened: {what}");
}
