use mainstay_core::config::{Config, Log};
use mainstay_core::telemetry::{self, Error, Options, Telemetry};

use super::Traces;

/// Sets up the log, and with it the export of traces. The dispatcher is the one thing that is
/// process-wide: a second app in the process logs through the first one's and has no handle of its own.
pub(crate) fn start_telemetry(config: &Config, traces: Option<&Traces>) -> Result<Option<Telemetry>, Error> {
    let log = config.get::<Log>();
    let mut options = Options::default();
    options.level = log.level;
    options.format = log.format;
    options.debug = log.debug.clone();
    if let Some(traces) = traces {
        options = options.layer(traces.layer());
    }
    match telemetry::init(options) {
        Ok(telemetry) => Ok(Some(telemetry)),
        Err(Error::AlreadyInstalled) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Carries a changed `[log]` section to the log.
pub(crate) fn apply(telemetry: &Telemetry, log: &Log) -> Result<(), Error> {
    telemetry.set_debug(&log.debug)?;
    telemetry.set_level(log.level);
    Ok(())
}
