//! The registry: names to families, keys to series.

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::time::Instant;

use super::collect::{Collector, Sink};
use super::family::{Family, Kind};
use super::key::{self, Key, Query};
use super::series::Series;
use super::{Options, Unit};

/// Names remembered as logged; beyond that a fault is counted only.
const MAX_COMPLAINTS: usize = 1_000;

const DROPPED: &str = "mainstay_metrics_series_dropped_total";
const REJECTED: &str = "mainstay_metrics_rejected_total";

/// Why a request counts nowhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Reject {
    InvalidName,
    InvalidLabel,
    NameClash,
    NotFinite,
}

impl Reject {
    pub(super) const ALL: [Self; 4] =
        [Self::InvalidName, Self::InvalidLabel, Self::NameClash, Self::NotFinite];

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::InvalidName => "invalid_name",
            Self::InvalidLabel => "invalid_label",
            Self::NameClash => "name_clash",
            Self::NotFinite => "not_finite",
        }
    }
}

/// What families need of their registry.
#[derive(Debug, Default)]
pub(super) struct Shared {
    pub(super) options: Options,
    /// Every series by its canonical key. Reading takes no lock and writes to no shared line.
    pub(super) index: papaya::HashMap<Key, Arc<Series>, foldhash::fast::RandomState>,
    rejected: [AtomicU64; Reject::ALL.len()],
    complained: Mutex<HashSet<(Reject, Box<str>)>>,
}

impl Shared {
    pub(super) fn count(&self, why: Reject) {
        self.rejected[why as usize].fetch_add(1, Relaxed);
    }

    fn rejected(&self, why: Reject) -> u64 {
        self.rejected[why as usize].load(Relaxed)
    }

    /// Logs once per name and reason.
    pub(super) fn complain(&self, why: Reject, name: &str) {
        let mut complained = self.complained.lock().unwrap_or_else(PoisonError::into_inner);
        if complained.len() < MAX_COMPLAINTS && complained.insert((why, name.into())) {
            drop(complained);
            tracing::warn!(metric = ?name, reason = why.as_str(), "metric update counts nowhere");
        }
    }
}

pub(super) struct Registry {
    shared: Arc<Shared>,
    families: Mutex<Families>,
    collectors: Mutex<Vec<Collector>>,
    /// Length of the last text, to allocate the next one at once.
    pub(super) last_length: AtomicUsize,
}

#[derive(Debug, Default)]
struct Families {
    by_name: BTreeMap<Box<str>, Arc<Family>>,
    /// Every name that may stand in the text: a histogram `a` owns `a_sum`, so no counter
    /// can be called that.
    exposed: HashSet<String>,
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registry").field("series", &self.shared.index.len()).finish_non_exhaustive()
    }
}

impl Default for Registry {
    fn default() -> Self {
        Self::new(Options::default())
    }
}

impl Registry {
    pub(super) fn new(options: Options) -> Self {
        let registry = Self {
            shared: Arc::new(Shared { options, ..Shared::default() }),
            families: Mutex::default(),
            collectors: Mutex::default(),
            last_length: AtomicUsize::new(0),
        };
        registry.describe(Kind::Counter, DROPPED, Unit::None, "Label sets sent to an overflow series.", None);
        registry.describe(Kind::Counter, REJECTED, Unit::None, "Metric updates that count nowhere.", None);
        registry
    }

    /// What the registry says of itself; nothing while all is well.
    pub(super) fn own_samples(&self, sink: &mut Sink<'_>) {
        for family in self.families().iter().filter(|family| family.dropped() > 0) {
            sink.counter(DROPPED, &[("metric", &family.name)], family.dropped() as f64);
        }
        for why in Reject::ALL.into_iter().filter(|why| self.shared.rejected(*why) > 0) {
            sink.counter(REJECTED, &[("reason", why.as_str())], self.shared.rejected(why) as f64);
        }
    }

    /// Calls `update` with the series; `None` if there can be none.
    #[inline]
    pub(super) fn with_series<R>(
        &self,
        kind: Kind,
        name: &str,
        labels: &[(&str, &str)],
        update: impl FnOnce(&Arc<Series>) -> R,
    ) -> Option<R> {
        let query = Query::new(name, labels);
        let index = self.shared.index.pin();
        match index.get(&query) {
            Some(series) if series.kind() == kind => Some(update(series)),
            _ => {
                drop(index);
                self.new_series(kind, &query).map(|series| update(&series))
            }
        }
    }

    #[cold]
    fn new_series(&self, kind: Kind, query: &Query<'_>) -> Option<Arc<Series>> {
        self.family(kind, query.name)?.series(query).map_err(|why| self.reject(why, query.name)).ok()
    }

    pub(super) fn describe(&self, kind: Kind, name: &str, unit: Unit, help: &str, bounds: Option<&[f64]>) {
        if let Some(family) = self.family(kind, name) {
            family.describe(unit, help, bounds);
        }
    }

    /// The family of this name and kind, new if need be; `None` (counted, logged) if that cannot be.
    pub(super) fn family(&self, kind: Kind, name: &str) -> Option<Arc<Family>> {
        let family = self.lock_families().get_or_insert(kind, name, &self.shared);
        family.map_err(|why| self.reject(why, name)).ok()
    }

    pub(super) fn reject(&self, why: Reject, name: &str) {
        self.shared.count(why);
        self.shared.complain(why, name);
    }

    /// All families by name.
    pub(super) fn families(&self) -> Vec<Arc<Family>> {
        self.lock_families().by_name.values().cloned().collect()
    }

    pub(super) fn add_collector(&self, collector: Collector) {
        self.collectors.lock().unwrap_or_else(PoisonError::into_inner).push(collector);
    }

    pub(super) fn collectors(&self) -> Vec<Collector> {
        self.collectors.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn upkeep(&self) {
        let now = Instant::now();
        self.families().iter().for_each(|family| family.upkeep(now));
    }

    fn lock_families(&self) -> std::sync::MutexGuard<'_, Families> {
        self.families.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Families {
    fn get_or_insert(&mut self, kind: Kind, name: &str, shared: &Arc<Shared>) -> Result<Arc<Family>, Reject> {
        if let Some(family) = self.by_name.get(name) {
            return if family.kind == kind { Ok(Arc::clone(family)) } else { Err(Reject::NameClash) };
        }
        if !key::is_metric_name(name) {
            return Err(Reject::InvalidName);
        }
        let exposed = exposed_names(kind, name);
        if exposed.iter().any(|name| self.exposed.contains(name)) {
            return Err(Reject::NameClash);
        }
        self.exposed.extend(exposed);
        let family = Arc::new(Family::new(name, kind, Arc::clone(shared)));
        self.by_name.insert(name.into(), Arc::clone(&family));
        Ok(family)
    }
}

/// The names a metric takes in either format, family names included.
fn exposed_names(kind: Kind, name: &str) -> Vec<String> {
    let (base, suffixes): (_, &[&str]) = match kind {
        Kind::Counter => (name.strip_suffix("_total").unwrap_or(name), &["", "_total"]),
        Kind::Gauge => (name, &[""]),
        Kind::Histogram => (name, &["", "_bucket", "_count", "_sum"]),
        Kind::Summary => (name, &["", "_count", "_sum"]),
    };
    suffixes.iter().map(|suffix| format!("{base}{suffix}")).collect()
}
