//! What is held, for people to look at.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::future::try_join_all;

use mainstay_core::lock::{LockState, SHOWN_KEYS};
use mainstay_core::store::StoreError;
use tokio::time::Instant;

use super::{RedisLocks, shown};
use crate::{CallError, Class, Command};

/// Keys that the server looks at in one go: about a millisecond of its time.
const STEP: u32 = 1_000;
/// How often each server is asked to go on.
const STEPS: usize = 100;
/// For how long: what was found until then is shown while whoever looks still waits.
const LOOK: Duration = Duration::from_millis(200);

impl RedisLocks {
    pub(super) async fn list_held(&self, limit: usize) -> Result<Vec<LockState>, StoreError> {
        let stems = self.held(limit.min(SHOWN_KEYS)).await?;
        let holders = stems.iter().map(|stem| self.show(&format!("{stem}l"))).collect();
        let (holders, waiting) = (self.redis.call_all(holders).await, self.waiting(&stems).await?);
        let mut locks = Vec::with_capacity(stems.len());
        for ((stem, holders), waiting) in stems.iter().zip(holders).zip(waiting) {
            // What is not a lock's, or cannot be read, hides nothing else.
            let holders = match holders.and_then(shown) {
                Err(CallError::Rejected { .. }) => continue,
                holders => holders?,
            };
            if !holders.is_empty() {
                let key = self.space.name(stem).unwrap_or_else(|| stem.clone()).into();
                locks.push(LockState { key, holders, waiting });
            }
        }
        Ok(locks)
    }

    /// The stems of the keys that have holders.
    async fn held(&self, limit: usize) -> Result<BTreeSet<String>, CallError> {
        let servers = self.redis.primaries().into_iter().map(|slot| self.held_on(slot, limit));
        let stems: BTreeSet<_> = try_join_all(servers).await?.into_iter().flatten().collect();
        Ok(stems.into_iter().take(limit).collect())
    }

    async fn held_on(&self, slot: u16, limit: usize) -> Result<BTreeSet<String>, CallError> {
        let (pattern, began) = (self.space.pattern("l"), Instant::now());
        let (mut stems, mut cursor) = (BTreeSet::new(), String::from("0"));
        for _ in 0..STEPS {
            let scan = Command::new(Class::Read, "SCAN").arg(&cursor);
            let scan = scan.arg("MATCH").arg(&pattern).arg("COUNT").arg(STEP).in_slot(slot);
            let [next, keys] = self.redis.call(scan).await?.into_array()?;
            for key in keys.into_list()? {
                // No lock's key has other bytes.
                stems.extend(key.text().ok().and_then(|key| key.strip_suffix('l')).map(str::to_owned));
            }
            next.text()?.clone_into(&mut cursor);
            if cursor == "0" || stems.len() >= limit || began.elapsed() >= LOOK {
                break;
            }
        }
        Ok(stems)
    }

    /// How many processes listen for the release of each.
    async fn waiting(&self, stems: &BTreeSet<String>) -> Result<Vec<usize>, CallError> {
        let count = |slot| {
            let count = Command::new(Class::Read, "PUBSUB").arg("NUMSUB").in_slot(slot);
            stems.iter().fold(count, |count, stem| count.arg(format!("{stem}c")))
        };
        let mut waiting = vec![0; stems.len()];
        for answer in self.redis.call_all(self.redis.primaries().into_iter().map(count).collect()).await {
            let counts = answer?.into_list()?;
            for (sum, count) in waiting.iter_mut().zip(counts.iter().skip(1).step_by(2)) {
                *sum += usize::try_from(count.uint()?).unwrap_or(usize::MAX);
            }
        }
        Ok(waiting)
    }
}
