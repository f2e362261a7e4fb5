use std::io::Write;
use std::process::Command;
use std::sync::{Arc, Mutex};

use mainstay_core::lifecycle::Step;

use super::{SECOND, hang, lifecycle, ok};

#[derive(Clone, Default)]
struct Capture(Arc<Mutex<Vec<u8>>>);

impl Write for Capture {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Whether this process runs nothing but `test`; if not, runs it in one that does.
///
/// `tracing` keeps what it thinks of a callsite for the whole process. When another test's thread is
/// the first to meet one, it can be taken as disabled although this thread listens.
fn alone(test: &str) -> bool {
    const MARK: &str = "MAINSTAY_TEST_ALONE";
    if std::env::var_os(MARK).is_some() {
        return true;
    }
    let this = std::env::current_exe().unwrap();
    let output = Command::new(this).args(["--exact", test]).env(MARK, "1").output().unwrap();
    let printed = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && printed.contains("1 passed"), "{printed}");
    false
}

/// What `scenario` logs.
async fn logged(scenario: impl AsyncFnOnce()) -> String {
    let capture = Capture::default();
    let writer = capture.clone();
    let format = tracing_subscriber::fmt().with_ansi(false).without_time();
    let guard = tracing::subscriber::set_default(format.with_writer(move || writer.clone()).finish());
    scenario().await;
    drop(guard);
    let bytes = capture.0.lock().unwrap().clone();
    String::from_utf8(bytes).unwrap()
}

#[tokio::test(start_paused = true)]
async fn the_log_names_who_overran() {
    if !alone("lifecycle::log::the_log_names_who_overran") {
        return;
    }
    let text = logged(async || {
        let lifecycle = lifecycle();
        hang(&lifecycle, Step::FinishRequests, "slow requests", SECOND);
        lifecycle.request_shutdown("SIGTERM");
        lifecycle.run_shutdown().await;
    })
    .await;
    assert!(text.contains(r#"shutdown requested reason="SIGTERM""#), "{text}");
    let errors: Vec<_> = text.lines().filter(|line| line.contains("ERROR")).collect();
    assert_eq!(errors.len(), 1, "{text}");
    assert!(errors[0].contains("shutdown work overran its deadline"), "{text}");
    assert!(errors[0].contains(r#"step=FinishRequests name="slow requests""#), "{text}");
}

#[tokio::test(start_paused = true)]
async fn work_that_comes_too_late_is_named_in_the_log() {
    if !alone("lifecycle::log::work_that_comes_too_late_is_named_in_the_log") {
        return;
    }
    let text = logged(async || {
        let lifecycle = lifecycle();
        let late = lifecycle.clone();
        lifecycle.on(Step::FinishRequests, "requests", SECOND, move || {
            late.on(Step::NotReady, "before", SECOND, ok);
            late.on(Step::FinishRequests, "now", SECOND, ok);
            late.on(Step::StopComponents, "in time", SECOND, ok);
            ok()
        });
        lifecycle.run_shutdown().await;
        lifecycle.on(Step::Flush, "after", SECOND, ok);
    })
    .await;
    let names: Vec<_> = text
        .lines()
        .filter(|line| line.contains("registered too late"))
        .filter_map(|line| line.split('"').nth(1))
        .collect();
    assert_eq!(names, ["before", "now", "after"], "{text}");
}
