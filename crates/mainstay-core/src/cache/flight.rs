//! Loads in flight, so that callers who ask for the same thing share one.

use std::any::{Any, TypeId};
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use super::{Cached, Error, Token};

/// What a load gave: a value, or the knowledge that there is none.
pub(super) type Loaded<T> = Result<Option<T>, Error>;

/// Where those who wait for a load see its end. It closes without a result if the load's task was dropped.
pub(super) type Landing<T> = watch::Receiver<Option<Loaded<T>>>;

/// Which load a caller may share.
///
/// The name of a load is the lease it runs under, not its key: whatever invalidates the key breaks the
/// lease, and who asks afterwards gets another lease and never the old load.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Name {
    /// The store gave this lease.
    Lease(Token),
    /// The store is down and gives none.
    Degraded(Box<str>),
}

/// A load is shared by callers who want the same type, and agree whether there may be no value.
type Kind = (TypeId, bool);

/// Leases of loads that have ended, as many as are remembered.
const ENDED: usize = 4_096;

#[derive(Debug, Default)]
pub(super) struct Flights {
    table: Mutex<HashMap<(Name, Kind), Entry, foldhash::fast::RandomState>>,
    /// The latest last.
    ended: Mutex<VecDeque<Token>>,
}

#[derive(Debug)]
struct Entry {
    id: Token,
    landing: Box<dyn Any + Send + Sync>,
}

type Table<'a> = MutexGuard<'a, HashMap<(Name, Kind), Entry, foldhash::fast::RandomState>>;

impl Flights {
    fn table(&self) -> Table<'_> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ended(&self) -> MutexGuard<'_, VecDeque<Token>> {
        self.ended.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the load under this lease ran here and has ended. Of those long ago nothing is known.
    pub(super) fn has_ended(&self, lease: Token) -> bool {
        self.ended().contains(&lease)
    }

    pub(super) fn len(&self) -> usize {
        self.table().len()
    }

    /// The landing of the load of this name, if there is one of the same kind.
    pub(super) fn join<T: Cached>(&self, name: Name, optional: bool) -> Option<Landing<T>> {
        self.table().get(&(name, (TypeId::of::<T>(), optional))).map(Entry::landing)
    }

    /// The landing of the load of this name, and the load itself if it begins with this call: the
    /// caller must run it then.
    pub(super) fn join_or_begin<T: Cached>(
        self: &Arc<Self>,
        name: Name,
        optional: bool,
    ) -> (Landing<T>, Option<Flight<T>>) {
        let name = (name, (TypeId::of::<T>(), optional));
        let mut table = self.table();
        if let Some(entry) = table.get(&name) {
            return (entry.landing(), None);
        }
        let (sender, landing) = watch::channel(None);
        let id = Token::random();
        table.insert(name.clone(), Entry { id, landing: Box::new(landing.clone()) });
        (landing, Some(Flight { flights: Arc::clone(self), name, id, sender }))
    }

    /// From now on nobody joins the loads of this name.
    pub(super) fn detach(&self, name: &Name) {
        self.table().retain(|(of, _), _| of != name);
    }

    /// From now on nobody joins a load that has no lease.
    pub(super) fn detach_degraded(&self) {
        self.table().retain(|(of, _), _| matches!(of, Name::Lease(_)));
    }
}

impl Entry {
    fn landing<T: Cached>(&self) -> Landing<T> {
        let landing = self.landing.downcast_ref::<Landing<T>>();
        landing.expect("the type is part of the name").clone()
    }
}

/// A load. Dropping it, however that comes, makes room for the next.
#[derive(Debug)]
pub(super) struct Flight<T: Cached> {
    flights: Arc<Flights>,
    name: (Name, Kind),
    id: Token,
    sender: watch::Sender<Option<Loaded<T>>>,
}

impl<T: Cached> Flight<T> {
    /// Tells all who wait. Whoever asks after one of them has heard it finds room for the next.
    pub(super) fn land(self, result: Loaded<T>) {
        let sender = self.sender.clone();
        drop(self);
        sender.send_replace(Some(result));
    }
}

impl<T: Cached> Drop for Flight<T> {
    fn drop(&mut self) {
        let mut table = self.flights.table();
        if table.get(&self.name).is_some_and(|entry| entry.id == self.id) {
            table.remove(&self.name);
        }
        drop(table);
        if let (Name::Lease(token), _) = self.name {
            let mut ended = self.flights.ended();
            if ended.len() == ENDED {
                ended.pop_front();
            }
            ended.push_back(token);
        }
    }
}
