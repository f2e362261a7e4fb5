//! What could not be taken away while the store was away.

use mainstay_core::cache::{Claim, Entry, Error, Found, Lookup, Outcome, Settled, Target, Token};
use mainstay_core::store::{Reply, StoreError};
use mainstay_testkit::faulty::Fault;

use super::*;

#[tokio::test(start_paused = true)]
async fn a_delete_that_did_not_reach_the_store_is_made_up_for_when_it_is_back() {
    let it = remote();
    it.cache.set("k", "old", Ttl::hours(1)).await.unwrap();
    it.cache.set("other", "kept", Ttl::hours(1)).await.unwrap();
    it.faults.always(Fault::Unavailable);
    assert!(matches!(it.cache.delete("k").await, Err(Error::Unavailable(_))));
    assert_eq!(it.metric(OWED), 1.0);
    assert!(it.stored("k").await);
    it.faults.mend();
    it.paid().await;
    assert!(!it.stored("k").await);
    assert_eq!(it.cache.get::<String>("other").await.unwrap().as_deref(), Some("kept"));
}

#[tokio::test(start_paused = true)]
async fn until_it_is_made_up_for_this_process_reads_nothing_old() {
    let it = remote();
    it.cache.set("k", "old", Ttl::hours(1)).await.unwrap();
    it.cache.set("other", "kept", Ttl::hours(1)).await.unwrap();
    it.faults.next(1, Fault::LostRequest);
    assert!(matches!(it.cache.delete("k").await, Err(Error::Unknown(_))));
    // No await that lets the payer run lies in between.
    let (gone, kept) = (it.cache.get::<String>("k").await, it.cache.get::<String>("other").await);
    assert_eq!((gone.unwrap(), kept.unwrap().as_deref()), (None, Some("kept")));
    let many = it.cache.get_many::<String>(&["other", "k"]).await.unwrap();
    assert!(many[1].is_none());
}

#[tokio::test(start_paused = true)]
async fn a_set_that_failed_leaves_no_older_value_behind() {
    let it = remote();
    it.cache.set("k", "old", Ttl::hours(1)).await.unwrap();
    it.faults.always(Fault::Unavailable);
    assert!(it.cache.set("k", "new", Ttl::hours(1)).await.is_err());
    it.faults.mend();
    it.paid().await;
    assert_eq!(it.cache.get::<String>("k").await.unwrap(), None);
}

#[tokio::test(start_paused = true)]
async fn a_tag_is_owed_like_a_key_and_concerns_them_all() {
    let it = remote();
    it.cache.set("k", "old", Ttl::hours(1).tag("users")).await.unwrap();
    it.faults.next(1, Fault::Unavailable);
    assert!(it.cache.invalidate_tag("users").await.is_err());
    assert_eq!(it.cache.get::<String>("k").await.unwrap(), None);
    it.paid().await;
    assert!(!it.stored("k").await);
}

#[tokio::test(start_paused = true)]
async fn a_delete_that_nobody_waited_for_is_owed_too() {
    let it = remote();
    it.cache.set("k", "old", Ttl::hours(1)).await.unwrap();
    it.faults.next(1, Fault::Hang);
    let delete = tokio::time::timeout(SECOND / 100, it.cache.delete("k")).await;
    assert!(delete.is_err(), "it hangs");
    assert_eq!(it.metric(OWED), 1.0);
    it.paid().await;
    assert!(!it.stored("k").await);
}

#[tokio::test(start_paused = true)]
async fn a_load_that_began_before_the_debt_is_not_stored() {
    let it = remote();
    let (begun, go) = (tokio::sync::Notify::new(), std::sync::Arc::new(tokio::sync::Notify::new()));
    let begun = std::sync::Arc::new(begun);
    let (told, wait) = (begun.clone(), go.clone());
    let cache = it.cache.clone();
    let load = tokio::spawn(async move {
        cache
            .get_or_load("k", Ttl::hours(1), || async move {
                told.notify_one();
                wait.notified().await;
                Ok::<_, std::io::Error>("old".to_owned())
            })
            .await
    });
    begun.notified().await;
    it.faults.always(Fault::Unavailable);
    assert!(it.cache.delete("k").await.is_err());
    it.faults.mend();
    go.notify_one();
    assert_eq!(load.await.unwrap().unwrap(), "old", "its caller began before");
    it.paid().await;
    assert!(!it.stored("k").await);
}

#[tokio::test(start_paused = true)]
async fn a_deletion_of_a_version_is_made_up_for_with_its_version() {
    let it = remote();
    assert!(it.cache.set_if_newer("k", "old", 3, Ttl::hours(1)).await.unwrap());
    it.faults.always(Fault::Unavailable);
    for version in [4, 7, 5] {
        assert!(it.cache.delete_version("k", version).await.is_err());
    }
    assert!(it.cache.delete("k").await.is_err());
    it.faults.mend();
    it.paid().await;
    assert!(!it.stored("k").await);
    assert!(!it.cache.set_if_newer("k", "late", 6, Ttl::hours(1)).await.unwrap(), "it was deleted in 7");
    assert!(it.cache.set_if_newer("k", "new", 8, Ttl::hours(1)).await.unwrap());
}

/// A store of several servers, of which the one with the names that begin with `x` is away.
#[derive(Debug)]
struct PartlyAway(Arc<Memory>);

impl Store for PartlyAway {
    fn get<'a>(&'a self, key: Key<'a>) -> Reply<'a, Result<Option<Found>, StoreError>> {
        self.0.get(key)
    }

    fn get_many<'a>(&'a self, keys: &'a [Key<'a>]) -> Reply<'a, Result<Vec<Option<Found>>, StoreError>> {
        self.0.get_many(keys)
    }

    fn lookup<'a>(&'a self, key: Key<'a>, claim: Claim<'a>) -> Reply<'a, Result<Lookup, StoreError>> {
        self.0.lookup(key, claim)
    }

    fn put<'a>(&'a self, entries: &'a [(Key<'a>, Entry)]) -> Reply<'a, Result<(), StoreError>> {
        self.0.put(entries)
    }

    fn put_if_newer<'a>(
        &'a self,
        key: Key<'a>,
        entry: Entry,
        version: u64,
    ) -> Reply<'a, Result<bool, StoreError>> {
        self.0.put_if_newer(key, entry, version)
    }

    fn settle<'a>(
        &'a self,
        key: Key<'a>,
        token: Token,
        outcome: Outcome,
    ) -> Reply<'a, Result<Settled, StoreError>> {
        self.0.settle(key, token, outcome)
    }

    fn invalidate<'a>(&'a self, target: Target<'a>) -> Reply<'a, Result<bool, StoreError>> {
        match target {
            Target::Key(key) if key.name().starts_with('x') => {
                Reply::pending(async { Err(StoreError::unavailable("its server is away")) })
            }
            target => self.0.invalidate(target),
        }
    }

    fn changed(&self, key: Key<'_>) -> Reply<'static, ()> {
        self.0.changed(key)
    }
}

#[tokio::test(start_paused = true)]
async fn debts_to_a_server_that_is_away_keep_no_other_from_being_paid() {
    let faults = Faults::none();
    let switch = faults.clone();
    let wrap = |memory| Arc::new(FaultyStore::new(Arc::new(PartlyAway(memory)), switch)) as Arc<dyn Store>;
    let it = fixture(Options::default(), wrap);
    let keys: Vec<String> =
        (0..300).map(|n| if n % 2 == 0 { format!("x{n}") } else { format!("y{n}") }).collect();
    for key in &keys {
        it.cache.set(key, "old", Ttl::hours(1)).await.unwrap();
    }
    faults.always(Fault::Unavailable);
    for key in &keys {
        assert!(it.cache.delete(key).await.is_err());
    }
    faults.mend();
    tokio::time::sleep(60 * SECOND).await;
    assert_eq!(it.metric(OWED), 150.0);
    assert!(it.stored("x0").await && !it.stored("y1").await);
}
