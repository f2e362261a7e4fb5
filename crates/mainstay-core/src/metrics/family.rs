//! All series of one metric name.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio::time::Instant;

use super::histogram::{Buckets, Counts};
use super::key::{self, Key, Query};
use super::registry::{Reject, Shared};
use super::series::{Series, Value};
use super::striped::Striped;
use super::summary::Window;
use super::{Options, Unit};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Counter,
    Gauge,
    Histogram,
    Summary,
}

impl Kind {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
            Self::Summary => "summary",
        }
    }

    /// The label that this kind writes itself.
    fn own_label(self) -> Option<&'static str> {
        match self {
            Self::Counter | Self::Gauge => None,
            Self::Histogram => Some("le"),
            Self::Summary => Some("quantile"),
        }
    }
}

#[derive(Debug)]
pub(super) struct Family {
    pub(super) name: Box<str>,
    pub(super) kind: Kind,
    shared: Arc<Shared>,
    dropped: AtomicU64,
    about: Mutex<About>,
    members: Mutex<Members>,
}

#[derive(Debug, Clone)]
pub(super) struct About {
    pub(super) unit: Unit,
    pub(super) help: Arc<str>,
}

#[derive(Debug)]
struct Members {
    list: Vec<Member>,
    sorted: bool,
    /// Expired series that a caller may still hold: they come back rather than a second one of the
    /// same labels.
    retired: HashMap<Key, Weak<Series>>,
    buckets: Arc<Buckets>,
}

#[derive(Debug)]
struct Member {
    series: Arc<Series>,
    quiet_since: Option<Instant>,
}

impl Family {
    pub(super) fn new(name: &str, kind: Kind, shared: Arc<Shared>) -> Self {
        Self {
            name: name.into(),
            kind,
            shared,
            dropped: AtomicU64::new(0),
            about: Mutex::new(About { unit: Unit::None, help: "Not described.".into() }),
            members: Mutex::new(Members {
                list: Vec::new(),
                sorted: true,
                retired: HashMap::new(),
                buckets: Arc::new(Buckets::new(&[])),
            }),
        }
    }

    /// The series of `labels`, new if need be, or the overflow series when the metric is full.
    pub(super) fn series(self: &Arc<Self>, query: &Query<'_>) -> Result<Arc<Series>, Reject> {
        self.check_labels(query)?;
        let mut members = self.members();
        if let Some(series) = self.known(&mut members, query) {
            return Ok(series);
        }
        if members.list.len() < self.shared.options.max_series_per_metric {
            return Ok(self.insert_new(&mut members, query));
        }
        self.count_dropped();
        let query = Query::new(&self.name, &[("overflow", "true")]);
        let known = self.known(&mut members, &query);
        Ok(known.unwrap_or_else(|| self.insert_new(&mut members, &query)))
    }

    pub(super) fn check_labels(&self, query: &Query<'_>) -> Result<(), Reject> {
        let own = self.kind.own_label();
        let valid = query.labels().iter().all(|(name, _)| key::is_label_name(name) && Some(*name) != own);
        if valid { Ok(()) } else { Err(Reject::InvalidLabel) }
    }

    fn known(&self, members: &mut Members, query: &Query<'_>) -> Option<Arc<Series>> {
        if let Some(series) = self.shared.index.pin().get(query) {
            return Some(Arc::clone(series));
        }
        let series = members.retired.remove(&query.to_key())?.upgrade()?;
        series.unretire();
        self.insert(members, &series);
        Some(series)
    }

    fn insert_new(self: &Arc<Self>, members: &mut Members, query: &Query<'_>) -> Arc<Series> {
        let value = match self.kind {
            Kind::Counter => Value::Counter(Striped::new(AtomicU64::new(0))),
            Kind::Gauge => Value::Gauge(AtomicU64::new(0)),
            Kind::Histogram => Value::Histogram(Counts::new(Arc::clone(&members.buckets))),
            Kind::Summary => Value::Summary(Box::new(Window::new(self.shared.options.summary_window))),
        };
        let series = Arc::new(Series::new(query.to_key(), value, Arc::downgrade(self)));
        self.insert(members, &series);
        series
    }

    fn insert(&self, members: &mut Members, series: &Arc<Series>) {
        members.list.push(Member { series: Arc::clone(series), quiet_since: None });
        members.sorted = false;
        self.shared.index.pin().insert(series.key.clone(), Arc::clone(series));
    }

    /// Brings back a series that was updated through a kept handle after it expired. It may exceed
    /// the cap: an update counts more.
    pub(super) fn revive(&self, series: &Arc<Series>) {
        let mut members = self.members();
        if series.unretire() {
            members.retired.remove(&series.key);
            self.insert(&mut members, series);
        }
    }

    pub(super) fn upkeep(&self, now: Instant) {
        let Some(idle_after) = self.shared.options.idle_after else { return };
        let mut members = self.members();
        let Members { list, retired, .. } = &mut *members;
        retired.retain(|_, series| series.strong_count() > 0);
        list.retain_mut(|member| {
            let Member { series, quiet_since } = member;
            if series.labels.is_empty() || series.was_active() {
                *quiet_since = Some(now);
                return true;
            }
            let idle = quiet_since.is_some_and(|since| now.duration_since(since) >= idle_after);
            if !(idle && series.retire()) {
                return true;
            }
            retired.insert(series.key.clone(), Arc::downgrade(series));
            self.shared.index.pin().remove(&series.key);
            false
        });
    }

    pub(super) fn describe(&self, unit: Unit, help: &str, bounds: Option<&[f64]>) {
        *self.about.lock().unwrap_or_else(PoisonError::into_inner) = About { unit, help: help.into() };
        let Some(bounds) = bounds else { return };
        let buckets = Buckets::new(bounds);
        let mut members = self.members();
        if members.list.is_empty() && members.retired.is_empty() {
            members.buckets = Arc::new(buckets);
        } else if !members.buckets.same_bounds(&buckets) {
            tracing::warn!(metric = %self.name, "buckets kept: the histogram is already in use");
        }
    }

    pub(super) fn about(&self) -> About {
        self.about.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Calls `visit` for every series in the order of their labels, which it holds up creating new
    /// ones (not updates) meanwhile.
    pub(super) fn each_series(&self, mut visit: impl FnMut(&Series)) {
        let mut members = self.members();
        if !members.sorted {
            members.list.sort_by(|a, b| a.series.labels.cmp(&b.series.labels));
            members.sorted = true;
        }
        members.list.iter().for_each(|member| visit(&member.series));
    }

    pub(super) fn options(&self) -> &Options {
        &self.shared.options
    }

    pub(super) fn count_dropped(&self) {
        self.dropped.fetch_add(1, Relaxed);
    }

    pub(super) fn dropped(&self) -> u64 {
        self.dropped.load(Relaxed)
    }

    pub(super) fn refuse_not_finite(&self) {
        self.shared.count(Reject::NotFinite);
        self.shared.complain(Reject::NotFinite, &self.name);
    }

    fn members(&self) -> MutexGuard<'_, Members> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
