use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use mainstay_core::metrics::Metrics;
use ring::rand::{SecureRandom as _, SystemRandom};
use zeroize::Zeroizing;

use super::envelope::{Envelope, Header, OVERHEAD};
use super::instruments::Instruments;
use super::key::Key;
use super::xaes::{NONCE, TAG, same};
use super::{Error, KeyRing, Place};

/// Seals and opens values with the keys of a ring. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Sealer(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    ring: KeyRing,
    instruments: Instruments,
}

impl Sealer {
    /// Works with these keys, and counts for itself only.
    #[must_use]
    pub fn new(ring: &KeyRing) -> Self {
        Self::measured(ring, &Metrics::new())
    }

    /// Works with these keys, and counts in `metrics`.
    #[must_use]
    pub fn measured(ring: &KeyRing, metrics: &Metrics) -> Self {
        Self(Arc::new(Inner { ring: ring.clone(), instruments: Instruments::new(metrics) }))
    }

    /// Seals `plain` for this place with the first key of the ring. Twice the same gives two different results.
    ///
    /// # Errors
    /// [`Error::Failed`] where the system gives no randomness, or for more than 64 GiB.
    pub fn seal(&self, place: &Place<'_>, plain: &[u8]) -> Result<Vec<u8>, Error> {
        let Inner { ring, instruments } = &*self.0;
        let sealed = seal(ring.primary(), place, plain);
        if sealed.is_ok() { &instruments.sealed } else { &instruments.failed }.increment(1);
        sealed
    }

    /// The plain value of what [`seal`](Self::seal) made for this place, with any key of the ring.
    ///
    /// # Errors
    /// [`Error::Refused`] for everything else.
    pub fn open(&self, place: &Place<'_>, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, Error> {
        let Inner { ring, instruments } = &*self.0;
        let envelope = Envelope::parse(sealed);
        let key = envelope.as_ref().and_then(|envelope| ring.find(envelope.header.id));
        let opened = envelope.zip(key).and_then(|(envelope, key)| open(key, place, &envelope));
        match (&opened, envelope, key) {
            (Some(_), ..) => &instruments.opened,
            (None, Some(_), None) => &instruments.unknown_key,
            (None, ..) => &instruments.refused,
        }
        .increment(1);
        opened.ok_or(Error::Refused)
    }

    /// [`seal`](Self::seal) for a column of text: base64url.
    ///
    /// # Errors
    /// As [`seal`](Self::seal).
    pub fn seal_text(&self, place: &Place<'_>, plain: &str) -> Result<String, Error> {
        self.seal(place, plain.as_bytes()).map(|sealed| URL_SAFE_NO_PAD.encode(sealed))
    }

    /// [`open`](Self::open) for what [`seal_text`](Self::seal_text) made.
    ///
    /// # Errors
    /// [`Error::Refused`] for everything else, and for plain bytes that are no text.
    pub fn open_text(&self, place: &Place<'_>, sealed: &str) -> Result<Zeroizing<String>, Error> {
        // What is no base64 is refused, and counted, as the empty value.
        let mut plain = self.open(place, &URL_SAFE_NO_PAD.decode(sealed).unwrap_or_default())?;
        match String::from_utf8(std::mem::take(&mut *plain)) {
            Ok(text) => Ok(Zeroizing::new(text)),
            Err(error) => {
                drop(Zeroizing::new(error.into_bytes()));
                Err(Error::Refused)
            }
        }
    }

    /// Whether `sealed` is to be opened and sealed again: it is not of the first key of the ring in today's layout.
    /// That it opens at all is not said.
    #[must_use]
    pub fn needs_rotation(&self, sealed: &[u8]) -> bool {
        Envelope::parse(sealed).is_none_or(|envelope| envelope.header.id != self.0.ring.primary().id)
    }

    /// [`needs_rotation`](Self::needs_rotation) for what [`seal_text`](Self::seal_text) made.
    #[must_use]
    pub fn text_needs_rotation(&self, sealed: &str) -> bool {
        URL_SAFE_NO_PAD.decode(sealed).map_or(true, |sealed| self.needs_rotation(&sealed))
    }

    /// What to keep beside a sealed value to find it by: the same for the same value, purpose and key, and without
    /// the key nothing is learned from it but which values are equal. 22 letters (HMAC-SHA-256, 128 bits of it).
    ///
    /// The caller brings the value into one form first; `+49 30` and `+4930` have different indexes.
    #[must_use]
    pub fn blind_index(&self, purpose: &str, plain: &[u8]) -> String {
        self.0.ring.primary().blind_index(purpose, plain)
    }

    /// What to look for: the [`blind_index`](Self::blind_index) of every key of the ring, the first key's first.
    /// Records that no rotation has reached yet have one of an older key.
    #[must_use]
    pub fn blind_indexes(&self, purpose: &str, plain: &[u8]) -> Vec<String> {
        self.0.ring.0.iter().map(|key| key.blind_index(purpose, plain)).collect()
    }
}

fn seal(key: &Key, place: &Place<'_>, plain: &[u8]) -> Result<Vec<u8>, Error> {
    let header = Header { id: &key.id };
    let mut nonce = [0; NONCE];
    SystemRandom::new().fill(&mut nonce).map_err(|_| Error::Failed("the system gives no randomness"))?;
    let message = key.xaes.message_key(&nonce);

    // Of the right size from the start: growing would leave plain text behind.
    let mut sealed = Vec::with_capacity(OVERHEAD + key.id.len() + plain.len());
    header.write(&mut sealed);
    sealed.extend_from_slice(&nonce);
    sealed.extend_from_slice(&message.commitment);
    let body = sealed.len();
    sealed.extend_from_slice(plain);
    let tag = message.seal(&place.bind(&header), &mut sealed[body..]);
    sealed.extend_from_slice(&tag.ok_or(Error::Failed("it is too long"))?);
    Ok(sealed)
}

fn open(key: &Key, place: &Place<'_>, envelope: &Envelope<'_>) -> Option<Zeroizing<Vec<u8>>> {
    let message = key.xaes.message_key(envelope.nonce);
    if !same(&message.commitment, envelope.commitment) {
        return None;
    }
    let mut plain = Zeroizing::new(envelope.body.to_vec());
    message.open(&place.bind(&envelope.header), &mut plain)?;
    plain.truncate(envelope.body.len() - TAG);
    Some(plain)
}
