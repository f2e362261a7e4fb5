//! Writing: every change breaks the lease, wakes those who wait, and is known in this process before it is acknowledged.

use std::time::Duration;

use mainstay_core::cache::{Entry, Outcome, Settled, Tag, Token, VERSION_MEMORY};
use mainstay_core::key::Key;
use mainstay_core::store::StoreError;

use crate::{Answer, CallError, Class, Command, Script};

use super::near::{Bulk, Near};
use super::tags::{Epochs, TAG_MEMORY, tag_key};
use super::{LONGEST, Shared, envelope, lease, millis};

/// Forgets what is near when a change ends, however it ends: with its answer, without, or because nobody waits for
/// it any more.
struct Change<'a, V: Bulk> {
    near: &'a Near<V>,
    names: &'a [&'a str],
}

impl<V: Bulk> Drop for Change<'_, V> {
    fn drop(&mut self) {
        self.names.iter().for_each(|name| self.near.forget(name));
    }
}

impl Shared {
    pub(super) async fn put(&self, entries: &[(Key<'_>, Entry)]) -> Result<(), StoreError> {
        let names: Vec<&str> = entries.iter().map(|(key, _)| key.name()).collect();
        let tags = entries.iter().flat_map(|(_, entry)| &entry.tags).filter(|tag| tag.epoch.is_none());
        let epochs = self.opened(tags.map(|tag| &tag.name)).await?;
        let _change = Change { near: &self.values, names: &names };
        let put = |(key, entry): &(Key<'_>, Entry)| {
            let keys = [self.names.value(*key), self.names.lease(*key)];
            self.storing(&self.scripts.put, &keys, *key, entry, &epochs)
        };
        let answers = match entries {
            [one] => vec![self.redis.call(put(one)).await],
            many => self.call_all(many.iter().map(put).collect()).await,
        };
        together(answers)
    }

    pub(super) async fn put_if_newer(
        &self,
        key: Key<'_>,
        entry: Entry,
        version: u64,
    ) -> Result<bool, StoreError> {
        let tags = entry.tags.iter().filter(|tag| tag.epoch.is_none());
        let epochs = self.opened(tags.map(|tag| &tag.name)).await?;
        let _change = Change { near: &self.values, names: &[key.name()] };
        let keys = [self.names.value(key), self.names.lease(key), self.names.version(key)];
        let lives = entry.fresh_for.saturating_add(entry.stale_for);
        let command = self.storing(&self.scripts.put_if_newer, &keys, key, &entry, &epochs);
        let command = versioned(command, version, lives.max(VERSION_MEMORY));
        Ok(self.redis.call(command).await?.int()? == 1)
    }

    pub(super) async fn settle(
        &self,
        key: Key<'_>,
        token: Token,
        outcome: Outcome,
    ) -> Result<Settled, StoreError> {
        let done = match outcome {
            Outcome::Fill(entry) => return self.fill(key, token, &entry).await,
            Outcome::Keep(time) => self.release(key, token, millis(time)).await?,
            _ => self.release(key, token, 0).await?,
        };
        Ok(if done { Settled::Done } else { Settled::Refused })
    }

    async fn fill(&self, key: Key<'_>, token: Token, entry: &Entry) -> Result<Settled, StoreError> {
        let epochs = self.opened(entry.tags.iter().map(|tag| &tag.name)).await?;
        let overtaken = |tag: &Tag| tag.epoch.is_some() && tag.epoch != epochs.of(&tag.name);
        if entry.tags.iter().any(overtaken) {
            self.release(key, token, 0).await?;
            return Ok(Settled::Refused);
        }
        let _change = Change { near: &self.values, names: &[key.name()] };
        let keys = [self.names.value(key), self.names.lease(key)];
        let command = self.storing(&self.scripts.fill, &keys, key, entry, &epochs);
        let stored = self.redis.call(command.arg(lease::holder(token))).await?.int()? == 1;
        Ok(if stored { Settled::Done } else { Settled::Refused })
    }

    /// Frees a lease, or keeps it from everybody for so many milliseconds.
    async fn release(&self, key: Key<'_>, token: Token, keep: u64) -> Result<bool, StoreError> {
        let command = self.scripts.release.call(Class::Idem, &[&self.names.lease(key)]);
        let command = command.arg(self.names.channel(key)).arg(lease::holder(token)).arg(keep);
        Ok(self.redis.call(command).await?.int()? == 1)
    }

    pub(super) async fn invalidate(&self, key: Key<'_>) -> Result<bool, StoreError> {
        let answer = {
            let _change = Change { near: &self.values, names: &[key.name()] };
            let keys = [self.names.value(key), self.names.lease(key)];
            let command = self.scripts.invalidate.call(Class::Idem, &keys.each_ref().map(String::as_str));
            self.redis.call(command.arg(self.names.channel(key)).arg(envelope::MAX_HEAD)).await?
        };
        let Answer::Bytes(head) = answer else { return Ok(false) };
        let Some(head) = envelope::peek(&head).filter(|head| !head.is_absent()) else { return Ok(false) };
        // The value is gone already, whatever is known of its tags.
        Ok(self.confirmed(&head.tags).await.unwrap_or(true))
    }

    pub(super) async fn invalidate_version(&self, key: Key<'_>, version: u64) -> Result<bool, StoreError> {
        let _change = Change { near: &self.values, names: &[key.name()] };
        let keys = [self.names.value(key), self.names.lease(key), self.names.version(key)];
        let command = self.scripts.invalidate_version.call(Class::Idem, &keys.each_ref().map(String::as_str));
        let command = versioned(command.arg(self.names.channel(key)), version, VERSION_MEMORY);
        Ok(self.redis.call(command).await?.int()? == 1)
    }

    pub(super) async fn invalidate_tag(&self, tag: Key<'_>) -> Result<(), StoreError> {
        let _change = Change { near: &self.tags, names: &[tag.name()] };
        let written = self.names.epoch(tag_key(tag.name())?);
        let command = self.scripts.tag_invalidate.call(Class::Idem, &[&written]);
        self.redis.call(command.arg(millis(TAG_MEMORY))).await?;
        Ok(())
    }

    /// What all scripts that store a value have in common.
    fn storing(
        &self,
        script: &Script,
        keys: &[String],
        key: Key<'_>,
        entry: &Entry,
        epochs: &Epochs,
    ) -> Command {
        let with_epoch =
            |tag: &Tag| Tag { name: tag.name.clone(), epoch: tag.epoch.or_else(|| epochs.of(&tag.name)) };
        let tags: Vec<Tag> = entry.tags.iter().map(with_epoch).collect();
        let envelope = envelope::seal(key.name(), entry, &tags, &self.options);
        let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
        let lives = entry.fresh_for.saturating_add(entry.stale_for);
        script
            .call_with_room(Class::Idem, &keys, envelope.len())
            .arg(envelope)
            .arg(mainstay_core::time::micros(entry.fresh_for.min(LONGEST)))
            .arg(millis(lives))
            .arg(self.names.channel(key))
    }
}

/// As digits, which compare like the numbers; with an attempt, by which a second copy knows the first.
fn versioned(command: Command, version: u64, memory: Duration) -> Command {
    let attempt = format!("{:016x}", rand::random::<u64>());
    command.arg(format!("{version:020}")).arg(attempt).arg(millis(memory))
}

/// One answer for several changes. Nothing has happened only if nothing of any has.
fn together(answers: Vec<Result<Answer, CallError>>) -> Result<(), StoreError> {
    let all = answers.len();
    let mut errors: Vec<StoreError> = answers.into_iter().filter_map(Result::err).map(Into::into).collect();
    let unknown = errors.iter().position(|error| matches!(error, StoreError::Unknown { .. }));
    // What was refused stays refused; of what was not sent something is left to do.
    let not_sent = errors.iter().position(|error| matches!(error, StoreError::Unavailable { .. }));
    match (unknown, errors.len()) {
        (_, 0) => Ok(()),
        (Some(at), _) => Err(errors.swap_remove(at)),
        (None, failed) if failed == all => Err(errors.swap_remove(not_sent.unwrap_or(0))),
        (None, failed) => {
            Err(StoreError::unknown(format!("{failed} of {all} were not stored: {}", errors[0])))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_several_changes_nothing_has_happened_only_if_nothing_of_any_has() {
        let (stored, not_sent) = (Ok(Answer::Int(1)), Err(CallError::not_sent("down")));
        let unknown = Err(CallError::unknown("lost"));
        assert!(together(vec![stored.clone(), stored.clone()]).is_ok() && together(Vec::new()).is_ok());
        let all = together(vec![not_sent.clone(), not_sent.clone()]);
        assert!(matches!(all, Err(StoreError::Unavailable { .. })), "{all:?}");
        let refused = Err(CallError::rejected("NOPERM", "no"));
        let all = together(vec![refused.clone(), not_sent.clone()]);
        assert!(matches!(all, Err(StoreError::Unavailable { .. })), "{all:?}");
        assert!(matches!(together(vec![refused]), Err(StoreError::Rejected { .. })));
        let some = together(vec![stored.clone(), not_sent.clone()]);
        assert!(matches!(some, Err(StoreError::Unknown { .. })), "{some:?}");
        let lost = together(vec![not_sent, unknown, stored]);
        assert!(matches!(lost, Err(StoreError::Unknown { .. })), "{lost:?}");
    }
}
