//! Which servers there are, and which of them has which key.
//!
//! A table of nodes is published for the calls, which read it without a lock. One task for each deployment follows
//! its servers and changes the table; what a call learns on its way, a moved slot, changes it at once.
//!
//! # What was read, and servers that change
//! A [`Witness`] is of the tracked connection of one server. That server stops being the one that is told of a key's
//! changes when
//! - it fails, is demoted or leaves: its node is closed, which ends the witness;
//! - a slot moves from it while it lives: what it had, it deletes and says so. It cannot say that a key it did *not*
//!   have came to be elsewhere. So each slot has an era, which is part of the witness and ends when the slot is seen
//!   to move: by `MOVED`, by the table, or by `ASK`, which sends a read past the server that the witness is of.
//!
//! Every server is asked each second which slots it has, so that a move that no call met is seen within the bound
//! that the witness states.

mod cluster;
mod map;
mod sentinel;
mod standalone;

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use arc_swap::ArcSwap;
use tokio::runtime::Handle;
use tokio::sync::{Notify, watch};

use mainstay_core::task::TaskGroup;

use super::context::Context;
use super::node::Node;
use super::slot::{SLOTS, slot};
use super::witness::Witness;
use crate::command::To;
use crate::{Address, Command, Deployment};
use map::Map;

/// What the calls read.
#[derive(Default)]
struct Table {
    /// As in the map.
    nodes: Vec<Arc<Node>>,
    map: Map,
}

/// See the module.
pub(crate) struct Topology {
    table: ArcSwap<Table>,
    /// Held while the table is changed.
    changing: Mutex<()>,
    /// Of each slot; empty where all keys are on one server.
    eras: Arc<[AtomicU32]>,
    /// Where subscriptions are made.
    place: watch::Sender<Option<Address>>,
    /// Wakes the task that follows the servers.
    outdated: Notify,
    context: Arc<Context>,
    keeper: Handle,
    /// Ends with the last handle of the connection; no node is opened after that.
    tasks: Weak<TaskGroup>,
}

impl Topology {
    /// Begins to follow the servers of a deployment.
    pub(crate) fn open(context: &Arc<Context>, tasks: &Arc<TaskGroup>, keeper: &Handle) -> Arc<Self> {
        let eras = match context.options.deployment {
            Deployment::Cluster { .. } => usize::from(SLOTS),
            _ => 0,
        };
        let topology = Arc::new(Self {
            table: ArcSwap::default(),
            changing: Mutex::default(),
            eras: (0..eras).map(|_| AtomicU32::new(0)).collect(),
            place: watch::Sender::new(None),
            outdated: Notify::new(),
            context: Arc::clone(context),
            keeper: keeper.clone(),
            tasks: Arc::downgrade(tasks),
        });
        match context.options.deployment.clone() {
            Deployment::Standalone(server) => standalone::settle(&topology, server),
            Deployment::Sentinel { sentinels, master } => {
                let follow = sentinel::follow(Arc::clone(&topology), sentinels, master);
                tasks.spawn_until_cancelled("redis sentinels", follow);
            }
            Deployment::Cluster { seeds } => {
                topology.change(|map| *map = Map::unknown_cluster());
                let follow = cluster::follow(Arc::clone(&topology), seeds);
                tasks.spawn_until_cancelled("redis cluster", follow);
            }
        }
        topology
    }

    /// Where subscriptions are made, now and from now on.
    pub(crate) fn place(&self) -> watch::Receiver<Option<Address>> {
        self.place.subscribe()
    }

    /// Whether the server that subscriptions are made at answers, as far as is known.
    pub(crate) fn place_answers(&self) -> bool {
        let place = self.place.borrow();
        let table = self.table.load();
        table.nodes.iter().all(|node| Some(node.address()) != place.as_ref() || node.answers())
    }

    /// The server of a slot; without a slot any, by preference one that is up. `which` spreads the choice.
    #[inline]
    pub(crate) fn node(&self, slot: Option<u16>, which: usize) -> Option<Arc<Node>> {
        let table = self.table.load();
        match slot {
            Some(slot) => table.nodes.get(table.map.index(slot)?).cloned(),
            None => {
                let (head, tail) = table.nodes.split_at(which.checked_rem(table.nodes.len()).unwrap_or(0));
                let mut from_which = tail.iter().chain(head);
                from_which.clone().find(|node| node.is_up()).or_else(|| from_which.next()).cloned()
            }
        }
    }

    /// The slot of a key. Where one server has all keys, they all do with one.
    #[inline]
    pub(crate) fn slot(&self, key: &[u8]) -> u16 {
        if self.eras.is_empty() { 0 } else { slot(key) }
    }

    /// The slot that decides where a command is sent to.
    #[inline]
    pub(crate) fn slot_of(&self, command: &Command) -> Option<u16> {
        match command.to {
            To::Any => None,
            To::Slot(slot) => Some(slot),
            To::Word(_) => Some(command.first_key().map_or(0, |key| self.slot(key))),
        }
    }

    /// A slot of each server that has keys.
    pub(crate) fn samples(&self) -> Vec<u16> {
        self.table.load().map.samples()
    }

    /// The server that has all keys.
    fn only_server(&self) -> Option<Address> {
        self.table.load().map.servers().first().cloned()
    }

    /// All servers.
    pub(crate) fn nodes(&self) -> Vec<Arc<Node>> {
        self.table.load().nodes.clone()
    }

    /// Whether there is a server for every key, and all are up.
    pub(crate) fn is_up(&self) -> bool {
        let table = self.table.load();
        table.map.is_covered() && table.nodes.iter().all(|node| node.is_up())
    }

    /// Of what is read from now on over the tracked connection of this slot's server.
    pub(crate) fn witness(&self, slot: u16) -> Option<Witness> {
        // Before the table is looked at: a slot that moves in between leaves a witness that never holds.
        let era = self.eras.get(usize::from(slot)).map(|era| era.load(Ordering::Acquire));
        let witness = self.node(Some(slot), 0)?.witness()?;
        Some(match era {
            Some(era) => witness.within(Arc::clone(&self.eras), slot, era),
            None => witness,
        })
    }

    /// A server said that another one has this slot.
    pub(crate) fn moved(&self, slot: u16, to: &Address) {
        let news = self.table.load().map.owner(slot) != Some(to);
        if news {
            self.change(|map| map.assign(slot, to));
            self.outdated.notify_one();
        }
    }

    /// A server said that this slot is on its way to another one, which may have the key: gives that server.
    pub(crate) fn asked(&self, slot: u16, to: &Address) -> Option<Arc<Node>> {
        self.end_era(slot);
        let known = |topology: &Self| topology.nodes().into_iter().find(|node| node.address() == to);
        known(self).or_else(|| {
            self.change(|map| {
                map.add(to);
            });
            known(self)
        })
    }

    /// The present map is to be looked at again.
    pub(crate) fn doubt(&self) {
        self.outdated.notify_one();
    }

    fn end_era(&self, slot: u16) {
        if let Some(era) = self.eras.get(usize::from(slot)) {
            era.fetch_add(1, Ordering::AcqRel);
        }
    }

    /// Edits the map; opens the nodes that are new, and closes those that are gone.
    fn change(&self, edit: impl FnOnce(&mut Map)) {
        let _alone = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let old = self.table.load_full();
        let mut map = old.map.clone();
        edit(&mut map);
        let Some(tasks) = self.tasks.upgrade().filter(|_| map != old.map) else { return };
        let node = |server: &Address| {
            let known = old.nodes.iter().find(|node| node.address() == server).cloned();
            known.unwrap_or_else(|| {
                tracing::info!(address = %server, "a server of the Redis deployment");
                Arc::new(Node::open(server.clone(), &self.context, &tasks, &self.keeper))
            })
        };
        let nodes = map.servers().iter().map(node).collect();
        let moved: Vec<u16> = (0..SLOTS).filter(|slot| map.owner(*slot) != old.map.owner(*slot)).collect();
        let gone = old.nodes.iter().filter(|node| !map.servers().contains(node.address()));
        let gone: Vec<_> = gone.cloned().collect();
        self.table.store(Arc::new(Table { nodes, map }));
        // After the table: who still saw the old one has a witness of an era that ends now.
        moved.into_iter().for_each(|slot| self.end_era(slot));
        for node in gone {
            tracing::info!(address = %node.address(), "no longer a server of the Redis deployment");
            node.close();
        }
        self.context.next_epoch();
    }
}
