use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use mainstay_core::config::{Auth, Config, Database, Problems, Redis};
use mainstay_core::secret::Secret;
use serde::{Deserialize, Serialize};
use tempfile::tempdir;
use zeroize::Zeroize;

use super::{with_env, with_files, write};

const CANARY: &str = "hunter2";

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Nested {
    one: Secret<String>,
    maybe: Option<Secret<String>>,
    many: Vec<Secret<String>>,
    named: BTreeMap<String, Secret<String>>,
    bytes: Secret<Vec<u8>>,
}

fn nested() -> Nested {
    let secret = || Secret::from(CANARY);
    Nested {
        one: secret(),
        maybe: Some(secret()),
        many: vec![secret()],
        named: BTreeMap::from([("key".to_owned(), secret())]),
        bytes: Secret::new(CANARY.as_bytes().to_vec()),
    }
}

#[track_caller]
fn assert_hidden(text: &str) {
    assert!(!text.contains(CANARY), "the secret is printed: {text}");
    assert!(!text.contains("104, 117, 110"), "the bytes of the secret are printed: {text}");
}

fn debug(value: &impl Debug) -> String {
    format!("{value:?} {value:#?} {value:x?} {value:40?} {value:.1?}")
}

#[test]
fn no_formatter_prints_a_secret() {
    assert_eq!(format!("{:?}", Secret::from(CANARY)), "***");
    assert_eq!(format!("{:#?}", Some(Secret::from(CANARY))), "Some(\n    ***,\n)");
    assert_hidden(&debug(&nested()));
    assert_hidden(&debug(&Err::<(), _>(nested())));
}

#[test]
fn no_serializer_prints_a_secret() {
    assert_eq!(serde_json::to_string(&Secret::from(CANARY)).unwrap(), "\"***\"");
    assert_hidden(&serde_json::to_string(&nested()).unwrap());
    assert_hidden(&serde_json::to_string_pretty(&nested()).unwrap());
    assert_hidden(&serde_json::to_value(nested()).unwrap().to_string());
    assert_hidden(&format!("{:?}", toml::Value::try_from(nested()).unwrap()));
}

#[test]
fn a_secret_is_read_from_data_and_comes_out_only_when_exposed() {
    let secret: Secret<String> = serde_json::from_str("\"hunter2\"").unwrap();
    assert_eq!(secret.expose(), CANARY);
    assert_eq!(secret.clone().expose(), CANARY);
}

#[test]
fn a_secret_is_wiped_when_it_is_dropped() {
    struct Witness(Arc<AtomicBool>);
    impl Zeroize for Witness {
        fn zeroize(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    let wiped = Arc::new(AtomicBool::new(false));
    let secret = Secret::new(Witness(Arc::clone(&wiped)));
    assert!(!wiped.load(Ordering::Relaxed));
    drop(secret);
    assert!(wiped.load(Ordering::Relaxed));
}

#[test]
fn the_error_of_a_secret_of_the_wrong_type_does_not_quote_it() {
    let error = serde_json::from_str::<Secret<u64>>("\"hunter2\"").unwrap_err();
    assert_hidden(&format!("{error} {error:?}"));
    let error = serde_json::from_value::<Secret<u64>>(CANARY.into()).unwrap_err();
    assert_hidden(&format!("{error} {error:?}"));
}

const URL: &str = "redis://u:hunter2@h";

fn with_every_secret() -> Config {
    let key = format!("{CANARY}{}", "a".repeat(36)); // 43 characters of base64
    with_env([
        ("REDIS_URL", URL),
        ("REDIS_PASSWORD", CANARY),
        ("DB_DIALECT", "sqlite"),
        ("DB_PASSWORD", CANARY),
        ("JWT_PRIVATE_KEY", CANARY),
        ("ENCRYPTION_KEY", &key),
    ])
    .load()
    .unwrap()
}

#[test]
fn no_view_of_the_configuration_shows_a_secret() {
    let config = with_every_secret();
    let redis = config.get::<Redis>();
    assert_eq!(redis.url.as_ref().unwrap().expose(), URL);
    for text in [
        debug(&config),
        debug(&config.entries()),
        debug(&*redis),
        debug(&*config.get::<Database>()),
        debug(&*config.get::<Auth>()),
        serde_json::to_string(&*redis).unwrap(),
        serde_json::to_string(&*config.get::<Auth>()).unwrap(),
        config.to_json().to_string(),
        config.entries().iter().map(|entry| format!("{entry} {}", entry.value)).collect(),
    ] {
        assert_hidden(&text);
    }
    assert_eq!(config.value("redis.password"), Some("***".into()));
    assert_eq!(config.value("database.url"), Some(serde_json::Value::Null));
}

#[track_caller]
fn assert_problems_hidden(loaded: Result<Config, Problems>) {
    let problems = loaded.unwrap_err();
    assert_hidden(&format!("{problems} {}", debug(&problems)));
}

#[test]
fn no_problem_quotes_a_secret() {
    for variables in [
        [("REDIS_URL", "http://hunter2@h"), ("PORT", "x")],
        [("ENCRYPTION_KEY", CANARY), ("ENCRYPTION_KEYS", "a:hunter2")],
        [("REDIS_URL", URL), ("REDIS_HOST", "h")],
        [("DB_PASSWORD", CANARY), ("DATABASE_URL", "postgres://u:hunter2@h/d")],
        [("JWT_SECRET", CANARY), ("JWT_PRIVATE_KEY", CANARY)],
        [("DB_PASSWORD", CANARY), ("PORT", "1")],
    ] {
        assert_problems_hidden(with_env(variables).load());
    }
    let set = |key: &str| with_env([]).overrides([(key.to_owned(), CANARY.to_owned())]).load();
    assert_problems_hidden(set("redis.passwrd"));
    assert_problems_hidden(set("redis.url"));
}

#[test]
fn no_mistake_in_a_file_prints_the_secret_beside_it() {
    let dir = tempdir().unwrap();
    for text in [
        "[redis]\npassword = 'hunter2\n",
        "[redis]\npassword = hunter2\n",
        "[redis]\npassword = \"hunter2\\q\"\n",
        "[redis]\npasword = 'hunter2'\n",
        "[redis]\npassword = ['hunter2']\n",
        "[redis]\npassword = { hunter2 = 1 }\n",
        "[redis]\nurl = 'hunter2'\n",
        "[redis]\npassword = 'a'\npassword = 'hunter2'\n",
        "[reddis]\npassword = 'hunter2'\n",
        "REDIS_PASSWORD = 'hunter2'\n",
        "redis = 'hunter2'\n",
    ] {
        write(dir.path(), "mainstay.toml", text);
        assert_problems_hidden(with_files(dir.path(), []).load());
    }
}

#[test]
fn no_refused_update_quotes_a_secret() {
    let config = with_every_secret();
    for path in ["redis.password", "redis.url", "auth.encryption_key", "redis.passwor"] {
        let error = config.update(path, CANARY).unwrap_err();
        assert_hidden(&format!("{error} {error:?}"));
    }
}
