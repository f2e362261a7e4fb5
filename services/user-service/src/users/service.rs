//! What one can do with users.

use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;
use mainstay::cache::Cache;
use mainstay::sql::idempotency;
use mainstay::task::Overrun;

use super::cached::CachedUsers;
use super::{
    Created, Cursor, Error, FieldError, NewUser, NewUserInput, Once, Page, Role, User, UserPatch,
    UserPatchInput, UserRepository, Vault, check, page_limit,
};
use crate::to_its_end::ToItsEnd;

/// What follows from a change for whoever gave the user rights. Called after the commit; what fails is its own affair.
#[async_trait]
pub(crate) trait Consequences: Send + Sync {
    /// The user has another role.
    async fn role_changed(&self, user: &str);
    /// The user is deleted.
    async fn deleted(&self, user: &str);
}

/// Checks input, lets the repository decide, and sees to what follows from a write: the cache forgets what it knew.
/// Cheap to clone.
#[derive(Clone)]
pub(crate) struct UserService {
    users: Arc<dyn UserRepository>,
    cached: CachedUsers,
    consequences: Arc<dyn Consequences>,
    writes: ToItsEnd,
}

impl UserService {
    pub(crate) fn new(
        users: Arc<dyn UserRepository>,
        cache: Cache,
        vault: Vault,
        consequences: Arc<dyn Consequences>,
    ) -> Self {
        let cached = CachedUsers::new(users.clone(), cache, vault);
        Self { users, cached, consequences, writes: ToItsEnd::default() }
    }

    /// Creates a user. With a key, repeating the request within 24 h creates nothing and answers the same
    /// user again; `scope` keeps the keys of different callers apart.
    ///
    /// # Errors
    /// [`Error::Invalid`], [`Error::EmailTaken`], [`Error::KeyReused`].
    pub(crate) async fn create(
        &self,
        input: NewUserInput,
        scope: &str,
        key: Option<&str>,
    ) -> Result<Created, Error> {
        let key = key.map(checked_key);
        let (new, once) = match (input.check(), key.transpose()) {
            (Ok(new), Ok(key)) => {
                let once = key.map(|key| Once {
                    scope: scope.to_owned(),
                    key: key.to_owned(),
                    fingerprint: serde_json::to_string(&new).expect("a new user is JSON"),
                });
                (new, once)
            }
            (Err(Error::Invalid(mut problems)), Err(problem)) => {
                problems.push(problem);
                return Err(Error::Invalid(problems));
            }
            (Err(error), _) => return Err(error),
            (_, Err(problem)) => return Err(Error::Invalid(vec![problem])),
        };
        self.keep(new, once).await
    }

    /// A user, from the cache where it is there.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub(crate) async fn get(&self, id: &str) -> Result<User, Error> {
        self.cached.get(id).await?.ok_or(Error::NotFound)
    }

    /// A user as it is this moment, for who is about to decide by its version.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub(crate) async fn current(&self, id: &str) -> Result<User, Error> {
        self.users.get(id).await?.ok_or(Error::NotFound)
    }

    /// Lets the cache forget a user who turned out to have changed elsewhere.
    pub(crate) async fn forget(&self, id: &str) {
        self.cached.forget(id).await;
    }

    /// A page of users, oldest first; `limit` and `cursor` as the client wrote them, 20 users by default.
    ///
    /// # Errors
    /// [`Error::Invalid`].
    pub(crate) async fn list(&self, limit: Option<&str>, cursor: Option<&str>) -> Result<Page, Error> {
        match (page_limit(limit), cursor.map(Cursor::parse).transpose()) {
            (Ok(limit), Ok(cursor)) => self.users.list(limit, cursor).await,
            (limit, cursor) => Err(Error::invalid([limit.err(), cursor.err()])),
        }
    }

    /// The users with this phone number, as the client wrote it.
    ///
    /// # Errors
    /// [`Error::Invalid`].
    pub(crate) async fn by_phone(&self, phone: &str) -> Result<Page, Error> {
        let phone = check::phone(phone).map_err(|problem| Error::Invalid(vec![problem]))?;
        Ok(Page { items: self.users.by_phone(&phone).await?, next: None })
    }

    /// Changes a user, if it is at `expected` version where one is given.
    ///
    /// # Errors
    /// [`Error::Invalid`], [`Error::NotFound`], [`Error::Stale`], [`Error::EmailTaken`].
    pub(crate) async fn update(
        &self,
        id: &str,
        input: UserPatchInput,
        expected: Option<i64>,
    ) -> Result<User, Error> {
        let (own, id, patch): (_, _, UserPatch) = (self.clone(), id.to_owned(), input.check()?);
        self.writes
            .run("user write", async move {
                let changed = own.users.update(&id, &patch, expected).await;
                // Also where it failed: a commit whose answer was lost may have happened, and who was refused for an
                // old version must not read that version again.
                own.cached.forget(&id).await;
                let change = changed?;
                if change.before.role != change.after.role {
                    own.consequences.role_changed(&id).await;
                }
                Ok(change.after)
            })
            .await
    }

    /// Deletes a user, if it is at `expected` version where one is given.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Stale`].
    pub(crate) async fn delete(&self, id: &str, expected: Option<i64>) -> Result<(), Error> {
        let (own, id) = (self.clone(), id.to_owned());
        self.writes
            .run("user write", async move {
                let deleted = own.users.delete(&id, expected).await;
                own.cached.forget(&id).await;
                deleted?;
                own.consequences.deleted(&id).await;
                Ok(())
            })
            .await
    }

    /// Removes for good up to `limit` users that were deleted before `deleted_before`. Answers how many; fewer
    /// than `limit` means that none is left. Their trail stays.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub(crate) async fn purge(&self, deleted_before: Timestamp, limit: usize) -> Result<usize, Error> {
        let own = self.clone();
        self.writes
            .run("user write", async move {
                let purged = own.users.purge(deleted_before, limit).await?;
                for id in &purged {
                    own.cached.forget(id).await;
                }
                Ok(purged.len())
            })
            .await
    }

    /// Gives a newcomer something to look at: a few users, if there never was one. Answers how many.
    /// Instances that start together do not get in each other's way.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub(crate) async fn seed(&self) -> Result<usize, Error> {
        if !self.users.is_empty().await? {
            return Ok(0);
        }
        let mut created = 0;
        for (email, name, phone, role) in SEED {
            let new = NewUser {
                email: email.to_owned(),
                name: name.to_owned(),
                phone: phone.map(str::to_owned),
                role,
            };
            match self.keep(new, None).await {
                Ok(_) => created += 1,
                Err(Error::EmailTaken) => {}
                Err(other) => return Err(other),
            }
        }
        Ok(created)
    }

    /// Waits for writes whose callers are gone.
    pub(crate) async fn stop(&self) -> Result<(), Overrun> {
        self.writes.stop().await
    }

    async fn keep(&self, new: NewUser, once: Option<Once>) -> Result<Created, Error> {
        let own = self.clone();
        self.writes
            .run("user write", async move {
                let created = own.users.create(new.into_user(), once.as_ref()).await?;
                // What is answered again happened before.
                if !created.replayed {
                    own.cached.forget(&created.user.id).await;
                }
                Ok(created)
            })
            .await
    }
}

const SEED: [(&str, &str, Option<&str>, Role); 3] = [
    ("ada@example.com", "Ada Lovelace", None, Role::Admin),
    ("grace@example.com", "Grace Hopper", Some("+12025550123"), Role::User),
    ("alan@example.com", "Alan Turing", None, Role::User),
];

fn checked_key(key: &str) -> Result<&str, FieldError> {
    if idempotency::is_valid_key(key) {
        Ok(key)
    } else {
        Err(FieldError::new("Idempotency-Key", "invalid", "must be 1 to 128 visible ASCII characters"))
    }
}
