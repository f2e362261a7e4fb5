use std::fmt;
use std::sync::Arc;

use mainstay_core::secret::Secret;

use super::KeyError;
use super::key::{self, Key};
use super::weak;

/// Most keys of a ring. Each look-up by blind index costs one index for each.
pub const MAX_KEYS: usize = 32;

/// The id of a key that is set alone. To put it into a ring later, name it so: `new:…,default:…`.
pub const SINGLE: &str = "default";

/// The keys of a service: the first seals, all open. Cheap to clone.
#[derive(Clone)]
pub struct KeyRing(pub(super) Arc<[Key]>);

impl KeyRing {
    /// Reads `ENCRYPTION_KEY` (`one`: 32 bytes as 64 hexadecimal digits or in base64) or `ENCRYPTION_KEYS` (`ring`:
    /// `id:key,id:key`). `None` if neither is set.
    ///
    /// # Errors
    /// [`KeyError`] names the key by its id, never by its bytes.
    pub fn parse(
        one: Option<&Secret<String>>,
        ring: Option<&Secret<String>>,
    ) -> Result<Option<Self>, KeyError> {
        match (one, ring) {
            (None, None) => Ok(None),
            (Some(_), Some(_)) => Err(KeyError::Both),
            (Some(one), None) => Self::from_texts([(SINGLE, one.expose().trim())]).map(Some),
            (None, Some(ring)) => {
                let entries: Option<Vec<(&str, &str)>> =
                    ring.expose().split(',').map(|entry| entry.trim().split_once(':')).collect();
                Self::from_texts(entries.ok_or(KeyError::Form)?).map(Some)
            }
        }
    }

    fn from_texts<'a>(entries: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Self, KeyError> {
        let mut keys: Vec<Key> = Vec::new();
        for (number, (id, text)) in (1..).zip(entries) {
            if number > MAX_KEYS {
                return Err(KeyError::TooMany { most: MAX_KEYS });
            }
            if !key::is_id(id) {
                return Err(KeyError::InvalidId { number });
            }
            let bytes = key::parse(text).ok_or_else(|| KeyError::InvalidKey { id: id.to_owned() })?;
            if keys.iter().any(|other| other.id == id) {
                return Err(KeyError::SameId { id: id.to_owned() });
            }
            if let Some(other) = keys.iter().find(|other| *other.bytes() == *bytes) {
                return Err(KeyError::SameKey { first: other.id.clone(), second: id.to_owned() });
            }
            keys.push(Key::new(id, bytes));
        }
        if keys.is_empty() { Err(KeyError::Form) } else { Ok(Self(keys.into())) }
    }

    /// Whether all keys may guard something: none is obviously not random. For production; examples and tests use
    /// what they like.
    ///
    /// # Errors
    /// [`KeyError::Weak`] names the first that may not.
    pub fn check_strength(&self) -> Result<(), KeyError> {
        let weak = self.0.iter().find_map(|key| weak::why(key.bytes()).map(|why| (key.id.clone(), why)));
        weak.map_or(Ok(()), |(id, why)| Err(KeyError::Weak { id, why }))
    }

    /// The ids of the keys; the first seals.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|key| key.id.as_str())
    }

    pub(super) fn primary(&self) -> &Key {
        self.0.first().expect("a ring is never empty")
    }

    pub(super) fn find(&self, id: &str) -> Option<&Key> {
        self.0.iter().find(|key| key.id == id)
    }
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.ids()).finish()
    }
}
