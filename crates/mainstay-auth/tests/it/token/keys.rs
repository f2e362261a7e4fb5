//! Reading keys, and the set that is published.

use mainstay_auth::token::{Issuer, Key, KeyError, Keys, NewClaims, Reason, Verifier};
use mainstay_core::config::JwtAlgorithm::{self, ES256, ES384, EdDSA, HS256, HS384, HS512, PS256, RS256};
use mainstay_core::metrics::Metrics;
use mainstay_core::secret::Secret;
use mainstay_core::time::Clock;

use super::{issuing, reason, verifying};
use crate::keys::{self, ALGORITHMS, ED25519, P256, P384, P521, RSA, RSA_1024};

fn private(pem: &str) -> Result<Key, KeyError> {
    Key::private_pem(None, &Secret::from(pem))
}

#[test]
fn a_secret_is_at_least_as_long_as_its_hash() {
    for (algorithm, least) in [(HS256, 32), (HS384, 48), (HS512, 64)] {
        let secret = |bytes| Key::secret(algorithm, &Secret::new("s".repeat(bytes)));
        assert!(secret(least).is_ok());
        let weak = secret(least - 1).unwrap_err();
        assert!(matches!(weak, KeyError::Weak { bytes, .. } if bytes == least - 1), "{weak}");
    }
}

#[test]
fn a_key_without_an_algorithm_gets_the_one_that_fits() {
    for (pair, algorithm) in [(RSA, RS256), (P256, ES256), (P384, ES384), (ED25519, EdDSA)] {
        assert_eq!(private(pair.0).unwrap().algorithm(), algorithm);
        assert_eq!(Key::public_pem(None, pair.1).unwrap().algorithm(), algorithm);
    }
}

#[test]
fn an_algorithm_that_does_not_fit_the_key_is_refused() {
    for algorithm in ALGORITHMS {
        for pair in [RSA, P256, P384, ED25519] {
            let fits = keys::pair(algorithm) == Some(pair);
            assert_eq!(
                Key::private_pem(Some(algorithm), &Secret::from(pair.0)).is_ok(),
                fits,
                "{algorithm:?}"
            );
            assert_eq!(Key::public_pem(Some(algorithm), pair.1).is_ok(), fits, "{algorithm:?}");
        }
        let fits = keys::pair(algorithm).is_none();
        assert_eq!(Key::secret(algorithm, &Secret::from(keys::SECRET)).is_ok(), fits, "{algorithm:?}");
    }
}

#[test]
fn weak_and_foreign_keys_are_refused() {
    assert!(matches!(Key::public_pem(None, RSA_1024.1), Err(KeyError::Weak { .. })));
    assert!(private(RSA_1024.0).is_err());
    assert_eq!(Key::public_pem(None, P521.1).unwrap_err(), KeyError::Kind);
    assert_eq!(private(P521.0).unwrap_err(), KeyError::Kind);
}

#[test]
fn what_is_not_the_key_that_was_asked_for_is_said_without_quoting_it() {
    let swapped = private(P256.1).unwrap_err();
    assert!(matches!(&swapped, KeyError::Pem { found, .. } if found == "PUBLIC KEY"), "{swapped}");
    let swapped = Key::public_pem(None, P256.0).unwrap_err();
    assert!(matches!(&swapped, KeyError::Pem { found, .. } if found == "PRIVATE KEY"), "{swapped}");
    let secret = P256.0.lines().nth(1).unwrap();
    let pkcs1 = format!("-----BEGIN RSA PRIVATE KEY-----\n{secret}\n-----END RSA PRIVATE KEY-----");
    let cut = P256.0.replace("-----END PRIVATE KEY-----", "");
    let odd = P256.0.replacen("MI", "M!", 1);
    let short = P256.0.replacen(secret, "", 1);
    for broken in ["", "key", "-----BEGIN PRIVATE KEY", secret, &pkcs1, &cut, &odd, &short] {
        let error = private(broken).unwrap_err();
        assert!(!format!("{error} {error:?}").contains(&secret[..16]), "{error:?}");
    }
    assert!(!format!("{:?}", private(P256.0).unwrap()).contains(&secret[..16]));
}

#[test]
fn no_file_panics_the_reader_of_keys() {
    for pem in [RSA.0, P256.0, ED25519.0, RSA.1, P384.1, ED25519.1] {
        for at in (0..pem.len()).step_by(1 + pem.len() / 150) {
            for other in ["", "A", "\n", "-", "/"] {
                let broken = format!("{}{other}{}", &pem[..at], &pem[at + 1..]);
                let _ = (private(&broken), Key::public_pem(None, &broken));
            }
        }
    }
}

#[test]
fn a_file_whose_line_breaks_are_written_out_is_read() {
    assert_eq!(private(&P256.0.replace('\n', "\\n")).unwrap().id(), private(P256.0).unwrap().id());
    assert!(Key::public_pem(None, &RSA.1.replace('\n', "\r\n")).is_ok());
}

#[test]
fn both_halves_of_a_pair_have_one_id() {
    for (private_pem, public_pem) in [RSA, P256, P384, ED25519] {
        let (one, other) = (private(private_pem).unwrap(), Key::public_pem(None, public_pem).unwrap());
        assert_eq!(one.id(), other.id());
        assert!(one.signs() && !other.signs());
    }
}

/// RFC 8037, appendix A.3, and RFC 7638, section 3.1.
#[test]
fn ids_are_the_thumbprints_of_the_rfcs() {
    let ed = "-----BEGIN PUBLIC KEY-----\n\
        MCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=\n-----END PUBLIC KEY-----";
    assert_eq!(Key::public_pem(None, ed).unwrap().id(), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
    let set = super::remote::RFC_7638;
    let keys = super::remote::read(set);
    assert_eq!(keys, ["2011-04-29"]);
    let without_id = set.replace(r#""kid":"2011-04-29","#, "");
    assert_eq!(super::remote::read(&without_id), ["NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"]);
}

#[test]
fn a_key_can_be_given_another_id() {
    let key = private(P256.0).unwrap();
    assert_eq!(key.clone().with_id("2026-11").unwrap().id(), "2026-11");
    for bad in ["", "a b", "é", &"k".repeat(257)] {
        assert_eq!(key.clone().with_id(bad).unwrap_err(), KeyError::Id);
    }
}

#[test]
fn a_ring_signs_with_a_key_that_can_and_has_each_id_once() {
    let public = keys::public(ES256);
    assert_eq!(Keys::signing(public.clone()).unwrap_err(), KeyError::Public);
    let ring = Keys::signing(keys::key(ES256)).unwrap();
    assert!(matches!(ring.clone().also(public), Err(KeyError::Twice { .. })));
    let numbered = |i: usize| keys::secret(HS256).with_id(&i.to_string()).unwrap();
    let full = (1..16).try_fold(ring, |ring, i| ring.also(numbered(i))).unwrap();
    assert!(matches!(full.also(numbered(16)), Err(KeyError::TooMany { .. })));
    let checking = Keys::checking(keys::key(ES256));
    assert!(Issuer::new(&checking, issuing(), Clock::system()).is_err());
}

/// New keys check first, then sign; old ones check until their last token has expired.
#[tokio::test]
async fn keys_rotate_without_a_token_that_fails() {
    let (old, new) = (keys::key(ES256), keys::key(EdDSA));
    let rings = [
        Keys::signing(old.clone()).unwrap(),
        Keys::signing(old.clone()).unwrap().also(new.clone()).unwrap(),
        Keys::signing(new.clone()).unwrap().also(old).unwrap(),
        Keys::signing(new).unwrap(),
    ];
    let claims = NewClaims { subject: "user-1".to_owned(), ..NewClaims::default() };
    let issued = |ring: &Keys| {
        let issuer = Issuer::new(ring, issuing(), Clock::system()).unwrap();
        issuer.issue(&claims).unwrap().token
    };
    let verifier =
        |ring: &Keys| Verifier::new(ring.clone(), verifying(), &Metrics::new(), Clock::system()).unwrap();
    for pair in rings.windows(2) {
        for (signs, checks) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
            let token = issued(&pair[signs]);
            assert!(verifier(&pair[checks]).verify(token.expose()).await.is_ok(), "{signs} {checks}");
        }
    }
    let gone = verifier(&rings[3]).verify(issued(&rings[0]).expose()).await;
    assert_eq!(reason(gone), Some(Reason::UnknownKey));
}

#[test]
fn the_published_set_has_public_keys_only() {
    let ring = Keys::signing(keys::key(RS256)).unwrap();
    let ring = ring.also(keys::secret(HS256)).unwrap().also(keys::key(EdDSA)).unwrap();
    let ring = ring.also(keys::key(ES256)).unwrap().also(keys::key(ES384)).unwrap();
    let jwks = ring.jwks();
    assert_eq!(jwks.cache_control(), "public, max-age=300");
    let text = jwks.document.to_string();
    assert!(!text.contains("oct") && !text.contains(r#""k":"#) && !text.contains(r#""d":"#), "{text}");
    let published: Vec<_> = jwks.document["keys"].as_array().unwrap().iter().collect();
    assert_eq!(published.len(), 4);
    for jwk in &published {
        assert_eq!(jwk["use"], "sig");
        assert!(jwk["kid"].is_string() && jwk["alg"].is_string(), "{jwk}");
    }
    let ids: Vec<_> = published.iter().map(|jwk| jwk["kid"].as_str().unwrap().to_owned()).collect();
    assert_eq!(super::remote::read(&text), ids, "and others read it so");
}

#[test]
fn a_set_names_the_algorithm_its_key_is_pinned_to() {
    let set = |algorithm: JwtAlgorithm| Keys::checking(keys::public(algorithm)).jwks().document.to_string();
    assert!(set(PS256).contains(r#""alg":"PS256""#));
    for algorithm in ALGORITHMS.into_iter().filter(|algorithm| keys::pair(*algorithm).is_some()) {
        assert!(set(algorithm).contains(&format!(r#""alg":"{}""#, keys::name(algorithm))));
    }
}
