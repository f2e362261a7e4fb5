//! What of a user is written so that only this service reads it: the phone number, and answers kept for repetitions.

use mainstay::auth::seal::{Place, Sealer};
use mainstay::sql::Error as SqlError;

use super::{Error, User};

/// Seals and opens, each value bound to the record it belongs to: moved to another it does not open.
#[derive(Clone, Debug)]
pub(crate) struct Vault(Sealer);

/// A phone number as it is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct SealedPhone {
    /// For a column of text.
    pub(super) sealed: Option<String>,
    /// What it is looked up by: the same for the same number, and telling nothing of it.
    pub(super) index: Option<String>,
}

impl Vault {
    pub(crate) const fn new(sealer: Sealer) -> Self {
        Self(sealer)
    }

    pub(super) fn seal_phone(&self, user: &str, phone: Option<&str>) -> Result<SealedPhone, Error> {
        let Some(phone) = phone else { return Ok(SealedPhone::default()) };
        let sealed = self.0.seal_text(&phone_of(user), phone).map_err(Error::Seal)?;
        Ok(SealedPhone { sealed: Some(sealed), index: Some(self.0.blind_index(PHONE, phone.as_bytes())) })
    }

    pub(super) fn open_phone(&self, user: &str, sealed: &str) -> Result<String, Error> {
        let phone = self.0.open_text(&phone_of(user), sealed);
        Ok(phone.map_err(|error| unreadable("phone_sealed", error))?.to_string())
    }

    /// Under every key that a row may have been written with.
    pub(super) fn phone_indexes(&self, phone: &str) -> Vec<String> {
        self.0.blind_indexes(PHONE, phone.as_bytes())
    }

    /// Whether it was sealed under a key that is on its way out.
    pub(super) fn is_old(&self, sealed: &str) -> bool {
        self.0.text_needs_rotation(sealed)
    }

    /// What stands for a request in the database, which need not know what was in it.
    pub(super) fn fingerprint(&self, request: &str) -> String {
        self.0.blind_index("request", request.as_bytes())
    }

    pub(super) fn seal_answer(&self, key: &str, user: &User) -> Result<Vec<u8>, Error> {
        let body = serde_json::to_vec(user).expect("a user is JSON");
        self.0.seal(&answer_to(key), &body).map_err(Error::Seal)
    }

    pub(super) fn open_answer(&self, key: &str, sealed: &[u8]) -> Result<User, Error> {
        let body = self.0.open(&answer_to(key), sealed).map_err(|error| unreadable("body", error))?;
        serde_json::from_slice(&body).map_err(|error| unreadable("body", error))
    }

    /// For a cache that others can read.
    pub(super) fn seal_cached(&self, user: &User) -> Result<Kept, Error> {
        let phone = self.seal_phone(&user.id, user.phone.as_deref())?.sealed;
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

const PHONE: &str = "phone";

fn phone_of(user: &str) -> Place<'_> {
    Place::new("users", PHONE, user)
}

fn answer_to(key: &str) -> Place<'_> {
    Place::new("users", "answer", key)
}

fn unreadable(column: &str, reason: impl std::fmt::Display) -> Error {
    Error::Store(SqlError::Decode { column: column.to_owned(), reason: reason.to_string() })
}
