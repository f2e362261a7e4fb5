//! One server, and the connections to it.

use std::sync::Arc;

use tokio::runtime::Handle;
use tokio_util::sync::DropGuard;

use mainstay_core::task::TaskGroup;

use super::context::Context;
use super::link::{self, Link};
use super::{ServerTime, Witness};
use crate::{Address, Lane};

/// One server: a pool, a connection whose reads are tracked, and one that renewals go over. Dropping it closes them.
pub(crate) struct Node {
    address: Address,
    pool: Vec<Arc<Link>>,
    tracked: Arc<Link>,
    keeper: Arc<Link>,
    end: DropGuard,
}

impl Node {
    pub(crate) fn open(address: Address, context: &Arc<Context>, tasks: &TaskGroup, keeper: &Handle) -> Self {
        let link = |purpose| Arc::new(Link::new(purpose, address.clone(), Arc::clone(context)));
        let pool: Vec<_> =
            (0..context.options.connections.max(1)).map(|_| link(link::Purpose::Commands)).collect();
        let (tracked, apart) = (link(link::Purpose::Tracked), link(link::Purpose::Commands));
        let end = tasks.token().child_token();
        for link in pool.iter().chain([&tracked]) {
            let (end, up) = (end.clone(), link::keep_up(Arc::clone(link)));
            tasks.spawn("redis connection", async move {
                end.run_until_cancelled(up).await;
            });
        }
        let (token, up) = (end.clone(), link::keep_up(Arc::clone(&apart)));
        keeper.spawn(async move { token.run_until_cancelled(up).await });
        Self { address, pool, tracked, keeper: apart, end: end.drop_guard() }
    }

    /// Which server this is.
    pub(crate) const fn address(&self) -> &Address {
        &self.address
    }

    /// Ends the connections now; whoever still holds the node gets [`CallError::NotSent`](crate::CallError).
    pub(crate) fn close(&self) {
        self.end.token().cancel();
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
