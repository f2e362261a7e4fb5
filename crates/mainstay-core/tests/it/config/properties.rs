use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use mainstay_core::config::Config;
use proptest::prelude::*;
use tempfile::tempdir;

use super::{origin, with_files, write};

/// Every variable there is, and the file variable of one.
fn variables() -> Vec<String> {
    let named = Config::for_tests([]).entries().into_iter().filter_map(|entry| entry.env.map(str::to_owned));
    named.chain(["MAINSTAY_CONFIG".to_owned(), "REDIS_PASSWORD_FILE".to_owned()]).collect()
}

/// TOML that is nearly right, so that the search gets behind the parser.
fn nearly_toml() -> impl Strategy<Value = String> {
    let section =
        prop::sample::select(vec!["server", "redis", "log", "rate_limit", "database", "x", "server.port"]);
    let key =
        prop::sample::select(vec!["port", "host", "level", "url", "window", "debug", "max_requests", "y.z"]);
    let value = prop_oneof![
        any::<i64>().prop_map(|n| n.to_string()),
        any::<f64>().prop_map(|n| n.to_string()),
        "'[^'\r\n]*'",
        Just("[1, 'a', [true]]".to_owned()),
        Just("{ a = 1 }".to_owned()),
        Just("2026-01-01T00:00:00Z".to_owned()),
        Just("0xffffffffffffffffffff".to_owned()),
        Just("nan".to_owned()),
    ];
    let line = prop_oneof![
        section.prop_map(|name| format!("[{name}]")),
        (key, value).prop_map(|(key, value)| format!("{key} = {value}")),
        "[^\r\n]{0,12}",
    ];
    prop::collection::vec(line, 0..12).prop_map(|lines| lines.join("\n"))
}

proptest! {
    #[test]
    fn no_bytes_in_a_variable_make_the_configuration_panic(
        name in prop::sample::select(variables()),
        bytes in prop::collection::vec(1..=u8::MAX, 0..40),
    ) {
        let variables = [(OsString::from(name), OsString::from_vec(bytes))];
        if let Err(problems) = Config::builder().env_vars(variables).load() {
            prop_assert!(problems.iter().count() > 0 && !problems.to_string().is_empty());
        }
    }

    #[test]
    fn no_text_in_an_update_makes_the_configuration_panic_or_half_applied(
        index in any::<prop::sample::Index>(),
        text in ".*",
    ) {
        let config = Config::for_tests([]);
        let entries = config.entries();
        let path = &index.get(&entries).path;
        let before = config.to_json();
        if config.update(path, text).is_err() {
            prop_assert_eq!(config.to_json(), before);
        }
    }
}

proptest! {
    // Each case writes files.
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_bytes_in_a_file_make_the_configuration_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let dir = tempdir().unwrap();
        std::fs::write(dir.path().join("mainstay.toml"), bytes).unwrap();
        let _ = with_files(dir.path(), []).load();
    }

    #[test]
    fn no_nearly_right_file_makes_the_configuration_panic(text in nearly_toml()) {
        let dir = tempdir().unwrap();
        write(dir.path(), "mainstay.toml", &text);
        let _ = with_files(dir.path(), []).load();
    }

    /// The model: the highest layer that sets the value wins, and the origin says which one that is.
    #[test]
    fn the_highest_layer_that_sets_a_value_wins_and_is_its_origin(set in prop::array::uniform5(any::<bool>())) {
        let [file, environment_file, env, command_line, update] = set;
        let dir = tempdir().unwrap();
        let text = |set: bool, n: u32| if set { format!("[rate_limit]\nmax_requests = {n}\n") } else { String::new() };
        let base = write(dir.path(), "mainstay.toml", &text(file, 1));
        let chosen = write(dir.path(), "mainstay.test.toml", &text(environment_file, 2));
        let value = if env { "3" } else { "" };
        let overrides = command_line.then(|| ("RATE_LIMIT_MAX_REQUESTS".to_owned(), "4".to_owned()));
        let config = with_files(dir.path(), [("APP_ENV", "test"), ("RATE_LIMIT_MAX_REQUESTS", value)])
            .overrides(overrides)
            .load()
            .unwrap();
        if update {
            config.update("rate_limit.max_requests", 5).unwrap();
        }
        let origins = [
            format!("file {base}"),
            format!("file {chosen}"),
            "env RATE_LIMIT_MAX_REQUESTS".to_owned(),
            "command line".to_owned(),
            "run-time update".to_owned(),
        ];
        let (value, expected) = match set.iter().rposition(|set| *set) {
            Some(highest) => (highest as u64 + 1, origins[highest].clone()),
            None => (100, "default".to_owned()),
        };
        prop_assert_eq!(config.value("rate_limit.max_requests"), Some(value.into()));
        prop_assert_eq!(origin(&config, "rate_limit.max_requests"), expected);
    }
}

#[test]
fn a_file_that_nests_without_end_is_refused() {
    let dir = tempdir().unwrap();
    write(dir.path(), "mainstay.toml", &format!("[log]\ndebug = {}", "[".repeat(200_000)));
    assert!(with_files(dir.path(), []).load().is_err());
    write(dir.path(), "mainstay.toml", &format!("[log]\ndebug = {}", "{a=".repeat(200_000)));
    assert!(with_files(dir.path(), []).load().is_err());
    write(dir.path(), "mainstay.toml", &format!("[log]\n{}debug = 1", "a.".repeat(200_000)));
    assert!(with_files(dir.path(), []).load().is_err());
}
