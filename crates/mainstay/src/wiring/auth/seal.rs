//! The keys of sealed values.

use mainstay_auth::seal::{KeyError, KeyRing, Sealer};
use mainstay_core::config::{self, Config};
use mainstay_core::metrics::Metrics;
use mainstay_core::secret::Secret;

use super::in_production;
use crate::StartError;

/// Known to everybody, so that data of yesterday's development opens today. Under the id `development`, which
/// production refuses.
const OF_DEVELOPMENT: &str = "development:6d61696e73746179206f6e6c7920666f7220646576656c6f706d656e74212121";

/// `ENCRYPTION_KEY` or `ENCRYPTION_KEYS`; production refuses to start without one.
pub(super) fn sealer(config: &Config, metrics: &Metrics) -> Result<Sealer, StartError> {
    let settings = config.get::<config::Auth>();
    let missing = settings.encryption_key.is_none() && settings.encryption_keys.is_none();
    if missing && in_production(config) {
        let why = "no key to encrypt stored data with: set ENCRYPTION_KEY (`openssl rand -base64 32`)";
        return Err(StartError::Auth(why.to_owned()));
    }
    let development = Secret::new(OF_DEVELOPMENT.to_owned());
    let ring = if missing { Some(&development) } else { settings.encryption_keys.as_ref() };
    let unfit = |error: KeyError| StartError::Auth(format!("ENCRYPTION_KEY: {error}"));
    let ring = KeyRing::parse(settings.encryption_key.as_ref(), ring).map_err(unfit)?;
    let ring = ring.expect("one of the two is set");
    if in_production(config) {
        ring.check_strength().map_err(unfit)?;
        if ring.ids().any(|id| id == "development") {
            let why = "ENCRYPTION_KEYS: the id `development` is that of a key which everybody knows";
            return Err(StartError::Auth(why.to_owned()));
        }
    }
    Ok(Sealer::measured(&ring, metrics))
}
