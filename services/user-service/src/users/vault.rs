//! What of a user is written so that only this service reads it: the phone number, and answers kept for repetitions.

use mainstay::auth::seal::{Field, Place, SealedField, Sealer};
use mainstay::sql::Error as SqlError;

use super::{Error, User};

/// Seals and opens, each value bound to the record it belongs to: moved to another it does not open.
#[derive(Clone, Debug)]
pub(crate) struct Vault {
    sealer: Sealer,
    phone: Field,
}

impl Vault {
    pub(crate) fn new(sealer: Sealer) -> Self {
        Self { phone: sealer.field("users", "phone"), sealer }
    }

    /// The column and what it is looked up by, which is the same for the same number and tells nothing of it.
    pub(super) fn seal_phone(
        &self,
        user: &str,
        phone: Option<&str>,
    ) -> Result<(Option<String>, Option<String>), Error> {
        let sealed = phone.map(|phone| self.phone.seal(user, phone)).transpose().map_err(Error::Seal)?;
        Ok(sealed.map(|sealed| (sealed.text, sealed.index)).unzip())
    }

    pub(super) fn open_phone(&self, user: &str, sealed: &str) -> Result<String, Error> {
        let phone = self.phone.open(user, sealed);
        Ok(phone.map_err(|error| unreadable("phone_sealed", error))?.to_string())
    }

    /// Under every key that a row may have been written with.
    pub(super) fn phone_indexes(&self, phone: &str) -> Vec<String> {
        self.phone.indexes(phone)
    }

    /// The same under the key of today; `None` if it is already.
    pub(super) fn reseal_phone(&self, user: &str, sealed: &str) -> Result<Option<SealedField>, Error> {
        self.phone.rotate(user, sealed).map_err(|error| unreadable("phone_sealed", error))
    }

    /// What stands for a request in the database, which need not know what was in it.
    pub(super) fn fingerprint(&self, request: &str) -> String {
        self.sealer.blind_index("request", request.as_bytes())
    }

    pub(super) fn seal_answer(&self, key: &str, user: &User) -> Result<Vec<u8>, Error> {
        let body = serde_json::to_vec(user).expect("a user is JSON");
        self.sealer.seal(&answer_to(key), &body).map_err(Error::Seal)
    }

    pub(super) fn open_answer(&self, key: &str, sealed: &[u8]) -> Result<User, Error> {
        let body = self.sealer.open(&answer_to(key), sealed).map_err(|error| unreadable("body", error))?;
        serde_json::from_slice(&body).map_err(|error| unreadable("body", error))
    }

    /// For a cache that others can read.
    pub(super) fn seal_cached(&self, user: &User) -> Result<Kept, Error> {
        let (phone, _) = self.seal_phone(&user.id, user.phone.as_deref())?;
        Ok(Kept { user: User { phone: None, ..user.clone() }, phone })
    }

    pub(super) fn open_cached(&self, kept: Kept) -> Result<User, Error> {
        let phone = kept.phone.map(|sealed| self.open_phone(&kept.user.id, &sealed)).transpose()?;
        Ok(User { phone, ..kept.user })
    }
}

/// A user as a cache keeps it.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub(super) struct Kept {
    user: User,
    phone: Option<String>,
}

fn answer_to(key: &str) -> Place<'_> {
    Place::new("users", "answer", key)
}

fn unreadable(column: &str, reason: impl std::fmt::Display) -> Error {
    Error::Store(SqlError::Decode { column: column.to_owned(), reason: reason.to_string() })
}
