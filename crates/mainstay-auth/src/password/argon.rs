use std::sync::Arc;

use argon2::password_hash::phc::{Output, ParamsString, PasswordHash, Salt};
use argon2::{Algorithm, Argon2, Params, PasswordHasher, PasswordVerifier, Version, password_hash};
use mainstay_core::secret::Secret;
use ring::rand::{SecureRandom, SystemRandom};

use super::{Error, Options, Verdict};

/// Least memory of a hash for each lane, in KiB.
pub const MIN_MEMORY_KIB: u32 = 8;
/// Most memory of a hash, in KiB: 1 GiB. What is kept and asks for more is not checked.
pub const MAX_MEMORY_KIB: u32 = 1024 * 1024;
/// Most passes over it.
pub const MAX_PASSES: u32 = 64;
/// Most lanes.
pub const MAX_LANES: u32 = 64;

const SALT: usize = 16;
const OUTPUT: usize = 32;
/// Shortest hash that is believed. A shorter one could be met by chance.
const MIN_OUTPUT: usize = 16;

const NO_RANDOMNESS: Error = Error::Failed("the system gives no randomness");

/// Argon2id with the parameters of one service. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Argon {
    params: Params,
    /// Checked where there is no account. Its salt and output are random, so that no password is known to fit.
    nobody: Arc<PasswordHash>,
}

impl Argon {
    pub(super) fn new(options: &Options) -> Self {
        let lanes = options.lanes.clamp(1, MAX_LANES);
        let memory = options.memory_kib.clamp(MIN_MEMORY_KIB * lanes, MAX_MEMORY_KIB);
        let passes = options.passes.clamp(1, MAX_PASSES);
        let params =
            Params::new(memory, passes, lanes, Some(OUTPUT)).expect("all numbers are in Argon2's range");
        // Whatever these bytes are, the verdict on them is not asked for.
        let random: [u8; SALT + OUTPUT] = rand::random();
        let nobody = Arc::new(PasswordHash {
            algorithm: Algorithm::Argon2id.ident(),
            version: Some(Version::V0x13.into()),
            params: ParamsString::try_from(&params).expect("three numbers fit"),
            salt: Some(Salt::new(&random[..SALT]).expect("16 bytes are a salt")),
            hash: Some(Output::new(&random[SALT..]).expect("32 bytes are an output")),
        });
        Self { params, nobody }
    }

    pub(super) fn hash(&self, password: &Secret<String>) -> Result<String, Error> {
        let mut salt = [0; SALT];
        SystemRandom::new().fill(&mut salt).map_err(|_| NO_RANDOMNESS)?;
        let hash =
            self.hasher().hash_password_with_salt(password.expose().as_bytes(), &salt).map_err(failed)?;
        Ok(hash.to_string())
    }

    /// One hash is worked out on every path.
    pub(super) fn verify(&self, password: &Secret<String>, kept: Option<&str>) -> Result<Verdict, Error> {
        let read = kept.map(readable);
        let hash = match &read {
            Some(Some(hash)) => hash,
            Some(None) | None => &self.nobody,
        };
        let fits = match self.hasher().verify_password(password.expose().as_bytes(), hash) {
            Ok(()) => true,
            Err(password_hash::Error::PasswordInvalid) => false,
            Err(error) => return Err(failed(error)),
        };
        match &read {
            Some(Some(hash)) if fits => Ok(Verdict::Right { rehash: self.differs(hash) }),
            Some(None) => Err(Error::Unreadable),
            Some(Some(_)) | None => Ok(Verdict::Wrong),
        }
    }

    /// Whether `hash` was made otherwise than one would be made today. Lower parameters count too: after them all
    /// accounts take the same time again.
    fn differs(&self, hash: &PasswordHash) -> bool {
        let today = &self.nobody;
        (hash.algorithm, hash.version, &hash.params) != (today.algorithm, today.version, &today.params)
            || hash.hash.as_ref().is_none_or(|output| output.len() != OUTPUT)
    }

    fn hasher(&self) -> Argon2<'static> {
        Argon2::new(Algorithm::Argon2id, Version::V0x13, self.params.clone())
    }
}

/// What is kept, if it is an Argon2 hash whose cost is in bounds.
fn readable(kept: &str) -> Option<PasswordHash> {
    let hash = PasswordHash::new(kept).ok()?;
    Algorithm::try_from(hash.algorithm.as_str()).ok()?;
    hash.version.map(Version::try_from).transpose().ok()?;
    let params = Params::try_from(&hash).ok()?;
    let bounded =
        params.m_cost() <= MAX_MEMORY_KIB && params.t_cost() <= MAX_PASSES && params.p_cost() <= MAX_LANES;
    let salted = hash.salt.as_ref().is_some_and(|salt| salt.len() >= argon2::MIN_SALT_LEN);
    (bounded && salted && hash.hash.as_ref().is_some_and(|output| output.len() >= MIN_OUTPUT)).then_some(hash)
}

fn failed(error: password_hash::Error) -> Error {
    match error {
        password_hash::Error::OutOfMemory => Error::Failed("there is no memory for it"),
        _ => Error::Failed("Argon2 refused its input"),
    }
}

#[cfg(test)]
impl Argon {
    pub(super) fn nobody(&self) -> String {
        self.nobody.to_string()
    }
}
