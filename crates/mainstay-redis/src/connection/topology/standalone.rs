//! One server.

use super::Topology;
use super::map::Map;
use crate::Address;

/// Nothing changes by itself: the links come back to the same address.
pub(super) fn settle(topology: &Topology, server: Address) {
    topology.place.send_replace(Some(server.clone()));
    topology.change(|map| *map = Map::single(server));
}
