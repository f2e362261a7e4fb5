//! The shutdown sequence: its order, its deadlines, and what cuts it short.

mod log;
mod model;
mod sequence;
mod signals;
mod trouble;

use std::convert::Infallible;
use std::future::Future;
use std::time::Duration;

use mainstay_core::lifecycle::{Lifecycle, Options, Outcome, Report, Step};

use crate::log::Log;

const SECOND: Duration = Duration::from_secs(1);

impl Log {
    /// Work that writes `name` and takes `time`.
    fn work(
        &self,
        name: &'static str,
        time: Duration,
    ) -> impl FnOnce() -> std::pin::Pin<Box<dyn Future<Output = Result<(), Infallible>> + Send>> + Send + 'static
    {
        let log = self.clone();
        move || {
            Box::pin(async move {
                log.push(name);
                tokio::time::sleep(time).await;
                log.push(format!("{name} done"));
                Ok(())
            })
        }
    }
}

/// A life without a drain delay.
fn lifecycle() -> Lifecycle {
    Lifecycle::new(Options::default().drain_delay(Duration::ZERO))
}

async fn ok() -> Result<(), Infallible> {
    Ok(())
}

/// Registers work that hangs.
fn hang(lifecycle: &Lifecycle, step: Step, name: &str, deadline: Duration) {
    lifecycle.on(step, name, deadline, std::future::pending::<Result<(), Infallible>>);
}

/// `name: outcome` of every entry.
fn outcomes(report: &Report) -> Vec<String> {
    report.steps.iter().map(|entry| format!("{}: {}", entry.name, entry.outcome)).collect()
}

/// The names of the entries that ended like this.
fn that(report: &Report, outcome: &Outcome) -> Vec<String> {
    report.steps.iter().filter(|entry| entry.outcome == *outcome).map(|entry| entry.name.clone()).collect()
}
