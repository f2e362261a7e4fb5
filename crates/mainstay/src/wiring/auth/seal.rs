//! The keys of sealed values.

use mainstay_auth::seal::{KeyError, KeyRing};
use mainstay_core::config::{self, Config, Problem};
use mainstay_core::secret::Secret;

use super::in_production;

/// Known to everybody, so that data of yesterday's development opens today. Under the id `development`, which
/// production refuses.
const OF_DEVELOPMENT: &str = "development:6d61696e73746179206f6e6c7920666f7220646576656c6f706d656e74212121";

/// `ENCRYPTION_KEY` or `ENCRYPTION_KEYS`; production refuses to start without one.
pub(super) fn ring(config: &Config) -> Result<KeyRing, Problem> {
    let settings = config.get::<config::Auth>();
    let missing = settings.encryption_key.is_none() && settings.encryption_keys.is_none();
    if missing && in_production(config) {
        let why = "missing, and stored data has to be encrypted: set it (`openssl rand -base64 32`)";
        return Err(Problem::new("ENCRYPTION_KEY", why));
    }
    let development = Secret::new(OF_DEVELOPMENT.to_owned());
    let ring = if missing { Some(&development) } else { settings.encryption_keys.as_ref() };
    let setting = if settings.encryption_keys.is_some() { "ENCRYPTION_KEYS" } else { "ENCRYPTION_KEY" };
    let unfit = |error: KeyError| Problem::new(setting, &error.to_string());
    let ring = KeyRing::parse(settings.encryption_key.as_ref(), ring).map_err(unfit)?;
    let ring = ring.expect("one of the two is set");
    if in_production(config) {
        ring.check_strength().map_err(unfit)?;
        if ring.ids().any(|id| id == "development") {
            let why = "the id `development` is that of a key which everybody knows";
            return Err(Problem::new("ENCRYPTION_KEYS", why));
        }
    }
    Ok(ring)
}
