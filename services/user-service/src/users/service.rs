//! What one can do with users.

use std::sync::Arc;

use mainstay::sql::idempotency;

use super::{
    Created, Cursor, Error, FieldError, NewUser, NewUserInput, Once, Page, Role, User, UserPatchInput,
    UserRepository, page_limit,
};

/// Checks input, then lets the repository decide. Cheap to clone.
#[derive(Clone)]
pub(crate) struct UserService {
    users: Arc<dyn UserRepository>,
}

impl UserService {
    pub(crate) fn new(users: Arc<dyn UserRepository>) -> Self {
        Self { users }
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
        self.users.create(new.into_user(), once.as_ref()).await
    }

    /// # Errors
    /// [`Error::NotFound`].
    pub(crate) async fn get(&self, id: &str) -> Result<User, Error> {
        self.users.get(id).await?.ok_or(Error::NotFound)
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
        Ok(self.users.update(id, &input.check()?, expected).await?.after)
    }

    /// Deletes a user, if it is at `expected` version where one is given.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Stale`].
    pub(crate) async fn delete(&self, id: &str, expected: Option<i64>) -> Result<(), Error> {
        self.users.delete(id, expected).await?;
        Ok(())
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
            match self.users.create(new.into_user(), None).await {
                Ok(_) => created += 1,
                Err(Error::EmailTaken) => {}
                Err(other) => return Err(other),
            }
        }
        Ok(created)
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
