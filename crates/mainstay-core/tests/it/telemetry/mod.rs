//! Telemetry: the lines of the log (`lines`), what is logged (`levels`), request ids and trace
//! context (`context`).

mod context;
mod levels;
mod lines;

use std::io;
use std::sync::{Arc, Mutex};

use mainstay_core::telemetry::{self, Format, Options, Telemetry};

/// What was written.
#[derive(Debug, Clone, Default)]
pub(crate) struct Captured(Arc<Mutex<Vec<u8>>>);

impl Captured {
    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }

    pub(crate) fn json(&self) -> Vec<serde_json::Value> {
        self.text().lines().map(|line| serde_json::from_str(line).expect(line)).collect()
    }
}

impl io::Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Runs `work` under a subscriber of its own and returns what was written.
fn logged(format: Format, change: impl FnOnce(&mut Options), work: impl FnOnce(&Telemetry)) -> Captured {
    let log = Captured::default();
    let mut options = Options::default().writer(log.clone());
    options.format = format;
    change(&mut options);
    let (subscriber, telemetry) = telemetry::subscriber(options).unwrap();
    tracing::subscriber::with_default(subscriber, || work(&telemetry));
    log
}
