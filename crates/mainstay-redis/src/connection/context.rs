//! What all connections of a deployment share.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use tokio::sync::watch;

use mainstay_core::metrics::Metrics;
use mainstay_core::time::Clock;

use super::Invalidation;
use super::instruments::Instruments;
use super::tls::Tls;
use crate::Options;

/// A wait that can be added to any moment.
const LONGEST: Duration = Duration::from_secs(86_400);

/// What every [`Node`](super::node::Node) and the subscriptions are opened with.
pub(crate) struct Context {
    pub(crate) options: Options,
    pub(crate) clock: Clock,
    pub(crate) instruments: Instruments,
    pub(crate) listeners: Listeners,
    pub(crate) tls: Tls,
    /// Counts connections that were lost or made anew.
    pub(crate) epoch: watch::Sender<u64>,
}

impl Context {
    pub(crate) fn new(mut options: Options, metrics: &Metrics, clock: Clock) -> Arc<Self> {
        options.command_timeout = options.command_timeout.min(LONGEST);
        options.connect_timeout = options.connect_timeout.min(LONGEST);
        options.retry_delay = options.retry_delay.min(LONGEST);
        Arc::new(Self {
            instruments: Instruments::new(metrics),
            listeners: Listeners::default(),
            tls: Tls::new(&options),
            epoch: watch::Sender::new(0),
            options,
            clock,
        })
    }

    pub(crate) fn next_epoch(&self) {
        self.epoch.send_modify(|epoch| *epoch += 1);
    }
}

/// Who hears of what changed.
#[derive(Default)]
pub(crate) struct Listeners(ArcSwap<Vec<Arc<dyn Invalidation>>>);

impl Listeners {
    #[expect(clippy::needless_pass_by_value, reason = "it is handed over")]
    pub(crate) fn add(&self, listener: Arc<dyn Invalidation>) {
        self.0.rcu(|old| old.iter().cloned().chain([Arc::clone(&listener)]).collect::<Vec<_>>());
    }

    pub(crate) fn tell(&self, keys: Option<&[Bytes]>) {
        self.0.load().iter().for_each(|listener| listener.invalidated(keys));
    }
}
