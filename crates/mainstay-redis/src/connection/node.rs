//! One server, and the connections to it.

use std::sync::Arc;

use tokio::runtime::Handle;
use tokio::sync::watch;

use mainstay_core::task::TaskGroup;
use mainstay_core::time::Clock;

use super::link::{self, Link, Listeners};
use super::{ServerTime, Witness};
use crate::{Address, Lane, Options};

/// One server: a pool, a connection whose reads are tracked, and one that renewals go over.
pub(crate) struct Node {
    pool: Vec<Arc<Link>>,
    tracked: Arc<Link>,
    keeper: Arc<Link>,
    pub(crate) listeners: Arc<Listeners>,
}

impl Node {
    pub(crate) fn open(
        address: Address,
        options: &Options,
        clock: &Clock,
        epoch: &watch::Sender<u64>,
        tasks: &TaskGroup,
        keeper: &Handle,
    ) -> Self {
        let listeners = Arc::new(Listeners::default());
        let link = |purpose| {
            let link = Link::new(
                purpose,
                address.clone(),
                options.clone(),
                clock.clone(),
                Arc::clone(&listeners),
                epoch,
            );
            Arc::new(link)
        };
        let pool: Vec<_> = (0..options.connections.max(1)).map(|_| link(link::Purpose::Commands)).collect();
        let (tracked, apart) = (link(link::Purpose::Tracked), link(link::Purpose::Commands));
        for link in pool.iter().chain([&tracked]) {
            tasks.spawn_until_cancelled("redis connection", link::keep_up(Arc::clone(link)));
        }
        let (token, up) = (tasks.token(), link::keep_up(Arc::clone(&apart)));
        keeper.spawn(async move { token.run_until_cancelled(up).await });
        Self { pool, tracked, keeper: apart, listeners }
    }

    pub(crate) fn is_up(&self) -> bool {
        self.pool.iter().chain([&self.tracked, &self.keeper]).all(|link| link.is_up())
    }

    pub(crate) fn link(&self, lane: Lane, which: usize) -> &Link {
        match lane {
            Lane::Main => &self.pool[which % self.pool.len()],
            Lane::Tracked => &self.tracked,
            Lane::Keeper => &self.keeper,
        }
    }

    pub(crate) fn witness(&self) -> Option<Witness> {
        self.tracked.witness()
    }

    pub(crate) fn server_time(&self) -> Option<ServerTime> {
        self.tracked.server_time()
    }
}
