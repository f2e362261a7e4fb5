//! The keys of tokens.

use mainstay_auth::token::{Key, KeyError, Keys};
use mainstay_core::config::{self, Config, JwtAlgorithm, Problem};
use mainstay_core::secret::Secret;

use super::in_production;

/// Where the keys that check tokens come from.
pub(super) enum Source {
    /// The configuration.
    Own(Keys),
    /// `JWT_JWKS_URL`.
    Remote(String),
}

/// What `JWT_*` says. A service that issues tokens needs a key that signs: production refuses to start without one,
/// elsewhere one is made for this process.
pub(super) fn source(config: &Config, issues: bool) -> Result<Option<Source>, Problem> {
    let settings = config.get::<config::Auth>();
    let algorithm = settings.jwt_algorithm;
    if let Some(secret) = &settings.jwt_secret {
        refuse_weak(config, "JWT_SECRET", secret)?;
        let algorithm = algorithm.unwrap_or(JwtAlgorithm::HS256);
        let mut keys = signing(Key::secret(algorithm, secret), "JWT_SECRET")?;
        if let Some(retired) = &settings.jwt_retired_secret {
            // Who guesses it signs tokens that are still believed.
            refuse_weak(config, "JWT_RETIRED_SECRET", retired)?;
            keys = also(keys, Key::secret(algorithm, retired), "JWT_RETIRED_SECRET")?;
        }
        return Ok(Some(Source::Own(keys)));
    }
    let own = match (&settings.jwt_private_key, &settings.jwt_public_key) {
        (Some(private), public) => {
            let keys = signing(Key::private_pem(algorithm, private), "JWT_PRIVATE_KEY")?;
            if let Some(public) = public {
                let public = named(Key::public_pem(algorithm, public), "JWT_PUBLIC_KEY")?;
                if keys.signer().is_none_or(|signer| signer.id() != public.id()) {
                    let why =
                        "is not the public half of JWT_PRIVATE_KEY; the key before is JWT_RETIRED_PUBLIC_KEY";
                    return Err(Problem::new("JWT_PUBLIC_KEY", why));
                }
            }
            Some(keys)
        }
        (None, Some(public)) => {
            Some(Keys::checking(named(Key::public_pem(algorithm, public), "JWT_PUBLIC_KEY")?))
        }
        (None, None) => None,
    };
    match (own, &settings.jwt_retired_public_key, &settings.jwt_jwks_url) {
        (Some(keys), retired, None) => {
            let keys = match retired {
                Some(retired) => also(keys, Key::public_pem(None, retired), "JWT_RETIRED_PUBLIC_KEY")?,
                None => keys,
            };
            needs_signer(&keys, issues)?;
            Ok(Some(Source::Own(keys)))
        }
        (None, _, Some(url)) if !issues => Ok(Some(Source::Remote(url.clone()))),
        (None, _, None) if issues && in_production(config) => Err(Problem::new(
            "JWT_SECRET",
            "missing, and tokens have to be signed: set it (`openssl rand -base64 48`) or JWT_PRIVATE_KEY",
        )),
        (None, _, None) if issues => {
            tracing::info!("tokens are signed with a key of this process only: set JWT_SECRET to keep them");
            let key = Key::random();
            Ok(Some(Source::Own(signing(Ok(key), "JWT_SECRET")?)))
        }
        (None, _, None) => Ok(None),
        (Some(_), _, Some(_)) => {
            Err(Problem::new("JWT_JWKS_URL", "cannot be combined with keys of one's own"))
        }
        (None, _, Some(_)) => Err(Problem::new(
            "JWT_JWKS_URL",
            "only checks tokens, and this service issues them: set JWT_PRIVATE_KEY or JWT_SECRET",
        )),
    }
}

fn needs_signer(keys: &Keys, issues: bool) -> Result<(), Problem> {
    if issues && keys.signer().is_none() {
        let why = "only checks tokens, and this service issues them: set JWT_PRIVATE_KEY";
        return Err(Problem::new("JWT_PUBLIC_KEY", why));
    }
    Ok(())
}

fn signing(key: Result<Key, KeyError>, setting: &str) -> Result<Keys, Problem> {
    named(key.and_then(Keys::signing), setting)
}

fn also(keys: Keys, key: Result<Key, KeyError>, setting: &str) -> Result<Keys, Problem> {
    named(key.and_then(|key| keys.also(key)), setting)
}

fn named<T>(made: Result<T, KeyError>, setting: &str) -> Result<T, Problem> {
    made.map_err(|error| Problem::new(setting, &error.to_string()))
}

/// A secret that is long and still no secret: one byte over and over, or words that stand in examples.
fn refuse_weak(config: &Config, setting: &str, secret: &Secret<String>) -> Result<(), Problem> {
    let text = secret.expose().to_lowercase();
    let mut seen: Vec<u8> = text.bytes().collect();
    seen.sort_unstable();
    seen.dedup();
    let of_examples =
        ["secret", "changeme", "change-me", "change_me", "password", "example", "your-", "your_"];
    let weak = seen.len() < 10 || of_examples.iter().any(|word| text.contains(word));
    if weak && in_production(config) {
        let why = "looks like a placeholder: production wants a random one (`openssl rand -base64 48`)";
        return Err(Problem::new(setting, why));
    }
    Ok(())
}
