//! Structured logs, request ids and trace context.
//!
//! # Promise
//! - Every line written inside a span carries the span's fields: a `request_id` recorded by the
//!   HTTP layer is in each line the request causes, also in lines of libraries, at every log level.
//! - One event is one line in both formats. Nothing in a message or a value can start a new line,
//!   send a control sequence to a terminal or repeat a key of the JSON object.
//! - Fields whose name begins with `otel.` speak to exporters of traces and are in no line.
//! - Level and debug categories change at run time, at once and together.
//! - Writing never panics and never fails the caller; a closed pipe loses lines, nothing else.
//!
//! # Not promised
//! - That logging never blocks: a line is written by the thread that logs it, under a lock, as
//!   containers expect on standard output. A reader that stops reading stops the writers.
//! - Records of the `log` crate; all libraries used here speak `tracing`.
//!
//! # Defaults
//! Level `info`, pretty lines to standard output, in colour on a terminal unless `NO_COLOR` is set,
//! no debug category.
//!
//! # Metrics
//! None.
//!
//! ```
//! use mainstay_core::telemetry::{self, Level, Options};
//!
//! let (subscriber, telemetry) = telemetry::subscriber(Options::default())?;
//! tracing::subscriber::with_default(subscriber, || {
//!     let _request = tracing::info_span!("request", request_id = "order-17").entered();
//!     tracing::info!(items = 3, "order accepted");
//!     telemetry.set_level(Level::Error);
//!     tracing::info!("not written");
//! });
//! # Ok::<(), telemetry::Error>(())
//! ```

mod error;
mod fields;
mod filter;
mod json;
mod line;
mod options;
mod panics;
mod pretty;
mod request_id;
mod text;
pub mod trace_context;

use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use tracing::Subscriber;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;

pub use error::Error;
pub use filter::CATEGORIES;
pub use options::{ExtraLayer, Format, Level, Options};
pub use panics::log_panics;
pub use request_id::RequestId;

/// Installs the subscriber for the whole process: the one thing that two applications in a process
/// have to share.
///
/// # Errors
/// [`Error::UnknownCategory`], [`Error::AlreadyInstalled`].
pub fn init(options: Options) -> Result<Telemetry, Error> {
    let (subscriber, telemetry) = subscriber(options)?;
    tracing::subscriber::set_global_default(subscriber).map_err(|_| Error::AlreadyInstalled)?;
    Ok(telemetry)
}

/// The subscriber without installing it, for tests and for a host that has its own.
///
/// # Errors
/// [`Error::UnknownCategory`].
pub fn subscriber(
    options: Options,
) -> Result<(impl Subscriber + for<'a> LookupSpan<'a> + Send + Sync, Telemetry), Error> {
    let Options { level, format, debug, writer, color, layers } = options;
    let targets = Arc::new(ArcSwap::from_pointee(filter::targets(level, &debug)?));
    let telemetry = Telemetry {
        targets: Arc::clone(&targets),
        settings: Arc::new(Mutex::new(Settings { level, debug })),
    };
    // An empty list of layers would be taken for a layer that wants nothing.
    let layers = (!layers.is_empty()).then_some(layers);
    let subscriber = tracing_subscriber::registry()
        .with(layers)
        .with(line::LineLayer { format, color, writer: Mutex::new(writer) })
        .with(filter::Filter { targets });
    Ok((subscriber, telemetry))
}

/// Changes what is logged at run time. Clones share it.
#[derive(Debug, Clone)]
pub struct Telemetry {
    targets: Arc<ArcSwap<Targets>>,
    settings: Arc<Mutex<Settings>>,
}

#[derive(Debug, Clone)]
struct Settings {
    level: Level,
    debug: Vec<String>,
}

impl Telemetry {
    /// Logs from this level on; the debug categories stay.
    pub fn set_level(&self, level: Level) {
        self.change(|settings| settings.level = level).expect("the categories in force were accepted before");
    }

    /// Raises exactly these categories (see [`CATEGORIES`], `*` for all) to `debug`.
    ///
    /// # Errors
    /// [`Error::UnknownCategory`]; nothing has changed then.
    pub fn set_debug<I>(&self, categories: I) -> Result<(), Error>
    where
        I: IntoIterator<Item: Into<String>>,
    {
        let debug = categories.into_iter().map(Into::into).collect();
        self.change(|settings| settings.debug = debug)
    }

    fn change(&self, change: impl FnOnce(&mut Settings)) -> Result<(), Error> {
        let mut settings = self.settings.lock().unwrap_or_else(PoisonError::into_inner);
        let mut wanted = settings.clone();
        change(&mut wanted);
        self.targets.store(Arc::new(filter::targets(wanted.level, &wanted.debug)?));
        *settings = wanted;
        // Call sites remember the old answer; ask them to ask again.
        tracing::callsite::rebuild_interest_cache();
        Ok(())
    }
}
