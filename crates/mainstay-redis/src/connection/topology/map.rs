//! Which server has which slot, as plain data.

use crate::Address;
use crate::connection::slot::SLOTS;

/// A slot that no server is known to have.
const NOBODY: u16 = u16::MAX;

/// The servers, and on a Cluster the server of each slot.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Map {
    servers: Vec<Address>,
    /// Indices of servers. `None`: the first server has all keys.
    slots: Option<Box<[u16]>>,
}

impl Map {
    /// One server that has all keys.
    pub(crate) fn single(server: Address) -> Self {
        Self { servers: vec![server], slots: None }
    }

    /// A Cluster of which nothing is known.
    pub(crate) fn unknown_cluster() -> Self {
        Self { servers: Vec::new(), slots: Some(vec![NOBODY; usize::from(SLOTS)].into()) }
    }

    pub(crate) fn servers(&self) -> &[Address] {
        &self.servers
    }

    /// Index of the server that has a slot.
    pub(crate) fn index(&self, slot: u16) -> Option<usize> {
        let index = match &self.slots {
            Some(slots) => usize::from(*slots.get(usize::from(slot))?),
            None => 0,
        };
        (index < self.servers.len()).then_some(index)
    }

    pub(crate) fn owner(&self, slot: u16) -> Option<&Address> {
        self.servers.get(self.index(slot)?)
    }

    /// A slot of each server that has one.
    pub(crate) fn samples(&self) -> Vec<u16> {
        let Some(slots) = &self.slots else { return vec![0] };
        let first = |index| slots.iter().position(|place| usize::from(*place) == index);
        (0..self.servers.len()).filter_map(first).filter_map(|slot| u16::try_from(slot).ok()).collect()
    }

    /// Whether every slot has a server.
    pub(crate) fn is_covered(&self) -> bool {
        match &self.slots {
            Some(slots) => !slots.contains(&NOBODY),
            None => !self.servers.is_empty(),
        }
    }

    /// Gives a slot to a server, which may be new. Without slots nothing happens.
    pub(crate) fn assign(&mut self, slot: u16, server: &Address) {
        let index = self.add(server);
        if let Some(place) = self.slots.as_mut().and_then(|slots| slots.get_mut(usize::from(slot))) {
            *place = index;
        }
    }

    /// Adds a server if it is new; gives its index.
    pub(crate) fn add(&mut self, server: &Address) -> u16 {
        let known = self.servers.iter().position(|known| known == server);
        let index = known.unwrap_or_else(|| {
            self.servers.push(server.clone());
            self.servers.len() - 1
        });
        u16::try_from(index).unwrap_or(NOBODY)
    }

    /// Whether a server has a slot.
    pub(crate) fn has_slots(&self, server: &Address) -> bool {
        let index = self.servers.iter().position(|known| known == server);
        match (&self.slots, index.and_then(|index| u16::try_from(index).ok())) {
            (_, None) => false,
            (None, Some(index)) => index == 0,
            (Some(slots), Some(index)) => slots.contains(&index),
        }
    }

    /// Drops the servers that have no slot and are not to be kept.
    pub(crate) fn drop_idle(&mut self, keep: impl Fn(&Address) -> bool) {
        let stays: Vec<bool> =
            self.servers.iter().map(|server| self.has_slots(server) || keep(server)).collect();
        let mut next = 0;
        let moved: Vec<u16> = stays
            .iter()
            .map(|stays| {
                let index = next;
                next += u16::from(*stays);
                index
            })
            .collect();
        let mut stays = stays.into_iter();
        self.servers.retain(|_| stays.next() == Some(true));
        for place in self.slots.iter_mut().flatten() {
            *place = moved.get(usize::from(*place)).copied().unwrap_or(NOBODY);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn server(number: u16) -> Address {
        Address::new(format!("s{number}"), 1)
    }

    proptest! {
        #[test]
        fn it_agrees_with_a_map_of_addresses(
            steps in prop::collection::vec((0..20_u16, 0..6_u16, prop::bool::weighted(0.2)), 0..60),
        ) {
            let (mut map, mut model) = (Map::unknown_cluster(), BTreeMap::new());
            for (slot, number, tidy) in steps {
                map.assign(slot, &server(number));
                model.insert(slot, server(number));
                if tidy {
                    map.drop_idle(|kept| *kept == server(0));
                    let idle = map.servers().iter().find(|server| !map.has_slots(server));
                    prop_assert!(idle.is_none_or(|idle| *idle == server(0)));
                }
                for slot in 0..20 {
                    prop_assert_eq!(map.owner(slot), model.get(&slot));
                }
            }
            prop_assert!(!map.is_covered());
        }
    }

    #[test]
    fn one_server_has_all_slots() {
        let map = Map::single(server(1));
        assert_eq!((map.owner(0), map.owner(16_383)), (Some(&server(1)), Some(&server(1))));
        assert!(map.is_covered() && !Map::default().is_covered());
    }

    #[test]
    fn a_cluster_is_covered_when_the_last_slot_has_a_server() {
        let mut map = Map::unknown_cluster();
        (0..16_383).for_each(|slot| map.assign(slot, &server(1)));
        assert!(!map.is_covered());
        map.assign(16_383, &server(2));
        map.assign(16_384, &server(2));
        map.add(&server(3));
        assert!(map.is_covered());
        assert_eq!(map.samples(), [0, 16_383]);
    }
}
