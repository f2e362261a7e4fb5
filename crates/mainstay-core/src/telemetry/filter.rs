//! Which spans and events are recorded: a level for everything and `debug` for chosen categories.

use std::sync::Arc;

use arc_swap::ArcSwap;
use tracing::subscriber::Interest;
use tracing::{Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::Context;

use super::{Error, Level};

/// The debug categories and the prefixes of the `tracing` targets each stands for.
pub const CATEGORIES: [(&str, &[&str]); 9] = [
    ("redis", &["mainstay_redis", "redis"]),
    ("db", &["mainstay_sql", "sqlx"]),
    ("metrics", &["mainstay_core::metrics"]),
    ("cache", &["mainstay_core::cache", "mainstay_redis::cache"]),
    ("lock", &["mainstay_core::lock", "mainstay_redis::lock"]),
    (
        "events",
        &["mainstay_core::event", "mainstay_redis::event", "mainstay_sql::outbox", "mainstay_sql::inbox"],
    ),
    ("http", &["mainstay_http", "tower_http"]),
    ("auth", &["mainstay_auth"]),
    ("config", &["mainstay_core::config"]),
];

/// Spans of this level are kept whatever the log level, so that the request id of the enclosing
/// request is in a lone warning, too.
const SPANS: LevelFilter = LevelFilter::INFO;

pub(super) fn targets(level: Level, debug: &[String]) -> Result<Targets, Error> {
    let level = LevelFilter::from(level);
    // A category adds, it never takes away.
    let raised = level.max(LevelFilter::DEBUG);
    let mut targets = Targets::new().with_default(level);
    for wanted in debug {
        let matching = CATEGORIES.iter().filter(|(name, _)| wanted == "*" || wanted == name);
        let mut prefixes = matching.flat_map(|(_, prefixes)| *prefixes).peekable();
        if prefixes.peek().is_none() {
            return Err(Error::UnknownCategory { category: wanted.clone() });
        }
        targets = targets.with_targets(prefixes.map(|prefix| (*prefix, raised)));
    }
    Ok(targets)
}

/// The filter as a layer. Every answer is final for its call site, so `tracing` caches it: what is
/// filtered out costs one atomic load.
pub(super) struct Filter {
    pub(super) targets: Arc<ArcSwap<Targets>>,
}

impl Filter {
    fn allows(&self, metadata: &Metadata<'_>) -> bool {
        let level = metadata.level();
        (metadata.is_span() && *level <= SPANS) || self.targets.load().would_enable(metadata.target(), level)
    }
}

impl<S: Subscriber> Layer<S> for Filter {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        if self.allows(metadata) { Interest::always() } else { Interest::never() }
    }

    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        self.allows(metadata)
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        let targets = self.targets.load();
        let most = targets.iter().map(|(_, level)| level).chain(targets.default_level()).max();
        Some(most.unwrap_or(SPANS).max(SPANS))
    }
}
