//! Epochs of tags: a value counts while each of its tags has the epoch it had before the value was loaded.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use mainstay_core::cache::Tag;
use mainstay_core::key::Key;
use mainstay_core::store::StoreError;

use crate::{Answer, Class, Command};

use super::near::Bulk;
use super::{Shared, millis};

/// How long the server remembers a tag after it was used first or invalidated last; then it is forgotten, and what
/// bears it is gone.
pub(super) const TAG_MEMORY: Duration = Duration::from_secs(30 * 24 * 3600);

/// An epoch that is kept near.
pub(super) struct Epoch(u64);

impl Bulk for Epoch {
    fn bulk(&self) -> usize {
        0
    }
}

/// What is known of some tags; `None` of one that the server does not know.
#[derive(Debug, Default)]
pub(super) struct Epochs(HashMap<Arc<str>, Option<u64>>);

impl Epochs {
    pub(super) fn of(&self, tag: &str) -> Option<u64> {
        self.0.get(tag).copied().flatten()
    }

    /// Whether none of these tags was invalidated since.
    pub(super) fn confirm(&self, tags: &[Tag]) -> bool {
        tags.iter().all(|tag| tag.epoch.is_some() && self.of(&tag.name) == tag.epoch)
    }
}

impl Shared {
    /// Whether none of these tags was invalidated since, as far as is known in this process.
    #[inline]
    pub(super) fn confirmed_near(&self, tags: &[Tag], now: mainstay_core::time::Moment) -> bool {
        let near = |tag: &Tag| self.tags.get(&tag.name, now).map(|kept| kept.thing.0);
        tags.iter().all(|tag| tag.epoch.is_some() && near(tag) == tag.epoch)
    }

    /// Whether none of these tags was invalidated since.
    pub(super) async fn confirmed(&self, tags: &[Tag]) -> Result<bool, StoreError> {
        Ok(self.epochs(tags.iter().map(|tag| &tag.name)).await?.confirm(tags))
    }

    /// The epochs of tags.
    pub(super) async fn epochs(&self, names: impl Iterator<Item = &Arc<str>>) -> Result<Epochs, StoreError> {
        self.ask_epochs(names, |written| Command::new(Class::Read, "GET").key(written)).await
    }

    /// The epochs of tags; the server begins to know those that it does not.
    pub(super) async fn opened(&self, names: impl Iterator<Item = &Arc<str>>) -> Result<Epochs, StoreError> {
        let open =
            |written: &str| self.scripts.tag_open.call(Class::Idem, &[written]).arg(millis(TAG_MEMORY));
        self.ask_epochs(names, open).await
    }

    async fn ask_epochs(
        &self,
        names: impl Iterator<Item = &Arc<str>>,
        question: impl Fn(&str) -> Command,
    ) -> Result<Epochs, StoreError> {
        let now = self.clock.now();
        let mut epochs = Epochs::default();
        let (mut asked, mut commands) = (Vec::new(), Vec::new());
        for name in names {
            if epochs.0.contains_key(name) {
                continue;
            }
            let near = self.tags.get(name, now).map(|kept| kept.thing.0);
            epochs.0.insert(Arc::clone(name), near);
            if near.is_none() {
                let written = self.names.epoch(tag_key(name)?);
                let (lane, witness) = self.way(&written, now);
                let place = witness.and_then(|witness| self.tags.place(name, witness, now));
                commands.push(question(&written).lane(lane));
                asked.push((Arc::clone(name), place));
            }
        }
        let until = now + self.options.near_ttl;
        for ((name, place), answer) in asked.into_iter().zip(self.call_all(commands).await) {
            let epoch = match answer? {
                Answer::Nil => None,
                // What is no number was not written by this cache: as if it were not there.
                answer => answer.uint().ok(),
            };
            if let (Some(place), Some(epoch)) = (place, epoch) {
                place.keep(Epoch(epoch), until);
            }
            epochs.0.insert(name, epoch);
        }
        Ok(epochs)
    }
}

pub(super) fn tag_key(name: &str) -> Result<Key<'_>, StoreError> {
    Key::new(name).map_err(|error| StoreError::rejected(format!("tag: {error}")))
}
