//! Passwords, kept as Argon2id hashes (RFC 9106).
//!
//! # Promise
//! - No more than [`Options::concurrent`] hashes are worked out at a time, and no more than [`Options::queue`] calls
//!   wait for one: beyond that [`Error::Busy`], at once. Callers that hang up change nothing about it: work that has
//!   begun keeps its place until it is done.
//! - Hashing runs on threads for blocking work, never on those of the runtime.
//! - To verify a password for an account that does not exist costs what a wrong password costs, with the parameters
//!   of [`Options`].
//! - Hashes are PHC strings with their own parameters and salt of 16 random bytes. Those that other parameters made
//!   are still verified, and [`Verdict::Right`] tells that they should be replaced.
//! - What is kept cannot make a check cost more than [`MAX_MEMORY_KIB`] and [`MAX_PASSES`].
//!
//! # Not promised
//! - A hash of other parameters takes its own time to check, until the next login replaces it.
//! - No rate limit: whoever may guess, and how often, is decided before this is asked.
//! - Passwords are taken as they are sent, without Unicode normalisation.
//! - Copies of the password made before it became a [`Secret`] are not overwritten, nor are Argon2's blocks.
//!
//! # If the store is down
//! There is none.
//!
//! # Defaults
//! What OWASP recommends: 19 MiB, two passes, one lane. Half as many at a time as there are cores, 64 waiting, for
//! 5 s at most. Memory in use is at most [`Options::concurrent`] times [`Options::memory_kib`].
//! Passwords have 8 to 128 characters, see [`Policy`].
//!
//! # Metrics
//! - `password_operations_total{operation, result}`: `hash` with `done`, `unfit`, `busy`, `failed`; `verify` with
//!   `right`, `wrong`, `unreadable`, `busy`, `failed`.
//! - `password_wait_seconds`: wait for a free place.
//! - `password_work_seconds`: time that a hash took once it had one.
//!
//! ```
//! # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
//! use mainstay_auth::password::{Options, Passwords, Verdict};
//!
//! # let mut options = Options::default();
//! # options.memory_kib = 64;
//! let passwords = Passwords::new(options);
//! let kept = passwords.hash("correct horse".into()).await?;
//! assert!(kept.starts_with("$argon2id$v=19$"));
//! assert_eq!(passwords.verify("correct horse".into(), Some(&kept)).await?, Verdict::Right { rehash: false });
//! assert_eq!(passwords.verify("battery staple".into(), Some(&kept)).await?, Verdict::Wrong);
//! assert_eq!(passwords.verify("correct horse".into(), None).await?, Verdict::Wrong); // no such account
//! # Ok::<(), mainstay_auth::password::Error>(()) }).unwrap();
//! ```

mod argon;
mod crew;
mod error;
mod instruments;
mod options;
mod policy;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use mainstay_core::metrics::Metrics;
use mainstay_core::secret::Secret;

use argon::Argon;
use crew::Crew;
use instruments::{Instruments, Operation};

pub use argon::{MAX_LANES, MAX_MEMORY_KIB, MAX_PASSES, MIN_MEMORY_KIB};
pub use error::Error;
pub use options::Options;
pub use policy::{MAX_BYTES, Policy, Unfit};

/// A password that nobody has chosen: 20 letters and digits that are not taken for each other.
#[must_use]
pub fn random() -> Secret<String> {
    const LETTERS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
    let bytes: [u8; 20] = rand::random();
    Secret::new(bytes.iter().map(|byte| char::from(LETTERS[usize::from(byte % 32)])).collect())
}

/// Hashes and verifies passwords. Cheap to clone; clones share their bounds.
#[derive(Debug, Clone)]
pub struct Passwords(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    argon: Argon,
    crew: Crew,
    policy: Policy,
    instruments: Instruments,
}

/// What came of verifying a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Verdict {
    /// It is the password.
    Right {
        /// What is kept was made with other parameters than these: hash the password again and keep that.
        rehash: bool,
    },
    /// It is not, or there is no such account.
    Wrong,
}

impl Passwords {
    /// Works as `options` say, and counts for itself only.
    #[must_use]
    pub fn new(options: Options) -> Self {
        Self::measured(options, &Metrics::new())
    }

    /// Works as `options` say, and counts in `metrics`.
    #[must_use]
    #[expect(clippy::needless_pass_by_value, reason = "options are handed over, as everywhere")]
    pub fn measured(options: Options, metrics: &Metrics) -> Self {
        let instruments = Instruments::new(metrics);
        Self(Arc::new(Inner {
            argon: Argon::new(&options),
            crew: Crew::new(&options, &instruments),
            policy: options.policy,
            instruments,
        }))
    }

    /// Whether this may become somebody's password; costs nothing. [`hash`](Self::hash) asks the same.
    ///
    /// # Errors
    /// [`Unfit`] names the rule.
    pub fn check(&self, password: &Secret<String>) -> Result<(), Unfit> {
        self.0.policy.check(password)
    }

    /// The hash to keep for a new password. Whoever drops the future gets none; the work that has begun is done.
    ///
    /// # Errors
    /// [`Error::Unfit`] where the policy refuses the password, [`Error::Busy`] and [`Error::Failed`].
    pub async fn hash(&self, password: Secret<String>) -> Result<String, Error> {
        let result = self.hash_uncounted(password).await;
        self.0.instruments.count(Operation::Hash, instruments::hashed(&result));
        result
    }

    async fn hash_uncounted(&self, password: Secret<String>) -> Result<String, Error> {
        self.check(&password)?;
        let argon = self.0.argon.clone();
        self.0.crew.run(move || argon.hash(&password)).await?
    }

    /// Whether this is the password that `kept` was made from; `None` where there is no such account, which is
    /// [`Verdict::Wrong`] after as long a time as a wrong password takes.
    ///
    /// The policy is not asked: it may be stricter than when the password was chosen. A password of more than
    /// [`MAX_BYTES`] is wrong at once, account or not.
    ///
    /// # Errors
    /// [`Error::Unreadable`] where `kept` is no Argon2 hash, after as long a time as a wrong password takes;
    /// [`Error::Busy`] and [`Error::Failed`].
    pub async fn verify(&self, password: Secret<String>, kept: Option<&str>) -> Result<Verdict, Error> {
        let result = self.verify_uncounted(password, kept).await;
        self.0.instruments.count(Operation::Verify, instruments::verified(&result));
        result
    }

    async fn verify_uncounted(&self, password: Secret<String>, kept: Option<&str>) -> Result<Verdict, Error> {
        if password.expose().len() > MAX_BYTES {
            return Ok(Verdict::Wrong);
        }
        let (argon, kept) = (self.0.argon.clone(), kept.map(str::to_owned));
        self.0.crew.run(move || argon.verify(&password, kept.as_deref())).await?
    }
}
