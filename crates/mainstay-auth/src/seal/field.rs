use zeroize::Zeroizing;

use super::{Error, Place, Sealer};

/// A column of text that is encrypted, with another beside it to find values by. Cheap to clone.
///
/// ```
/// use mainstay_auth::seal::{KeyRing, Sealer};
///
/// # let key = "8f1d6c0a5b3e49277a90d4c6e2b1f8035c7e9a1640d2b8f3e5a7c90b1d3f6284".into();
/// # let sealer = Sealer::new(&KeyRing::parse(Some(&key), None)?.expect("a key is set"));
/// let phone = sealer.field("user-service", "users.phone");
///
/// let kept = phone.seal("user-1", "+4930901820")?; // into `phone` and `phone_index`
/// assert_eq!(phone.open("user-1", &kept.text)?.as_str(), "+4930901820");
/// // where phone_index in (…)
/// assert!(phone.indexes("+4930901820").contains(&kept.index));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Field {
    sealer: Sealer,
    namespace: Box<str>,
    purpose: Box<str>,
}

/// What a [`Field`] keeps of a value.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SealedField {
    /// The sealed value, in base64url.
    pub text: String,
    /// Its blind index.
    pub index: String,
}

impl Sealer {
    /// An encrypted column; for namespace and purpose see [`Place::new`].
    #[must_use]
    pub fn field(&self, namespace: &str, purpose: &str) -> Field {
        Field { sealer: self.clone(), namespace: namespace.into(), purpose: purpose.into() }
    }
}

impl Field {
    /// What to keep for `plain` in this record. For the index to find it, bring it into one form first, here and in
    /// [`indexes`](Self::indexes).
    ///
    /// # Errors
    /// As [`Sealer::seal`].
    pub fn seal(&self, record: &str, plain: &str) -> Result<SealedField, Error> {
        let text = self.sealer.seal_text(&self.place(record), plain)?;
        Ok(SealedField { text, index: self.sealer.blind_index(&self.purpose, plain.as_bytes()) })
    }

    /// The value that was kept in this record.
    ///
    /// # Errors
    /// As [`Sealer::open_text`].
    pub fn open(&self, record: &str, text: &str) -> Result<Zeroizing<String>, Error> {
        self.sealer.open_text(&self.place(record), text)
    }

    /// The indexes that a record with this value may have; see [`Sealer::blind_indexes`].
    #[must_use]
    pub fn indexes(&self, plain: &str) -> Vec<String> {
        self.sealer.blind_indexes(&self.purpose, plain.as_bytes())
    }

    /// What to keep instead, with the first key of the ring; `None` if it is of that key already.
    ///
    /// # Errors
    /// As [`open`](Self::open) and [`seal`](Self::seal).
    pub fn rotate(&self, record: &str, text: &str) -> Result<Option<SealedField>, Error> {
        if !self.sealer.text_needs_rotation(text) {
            return Ok(None);
        }
        let plain = self.open(record, text)?;
        self.seal(record, &plain).map(Some)
    }

    fn place<'a>(&'a self, record: &'a str) -> Place<'a> {
        Place::new(&self.namespace, &self.purpose, record)
    }
}
