use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use mainstay_core::config::{Config, Field, Kind, Section, Server};
use serde::{Deserialize, Serialize};
use tempfile::tempdir;

use super::{lines, with_env, with_files, write};

const SECRET: &str = "thirty-two bytes, and some to spare";

#[test]
fn all_problems_are_listed_at_once_under_the_names_that_were_typed() {
    let dir = tempdir().unwrap();
    let file = write(dir.path(), "mainstay.toml", "[server]\nprot = 1\n\n[log]\nlevel = 'loud'\n[rediss]\n");
    let problems =
        with_files(dir.path(), [("PORT", "70000"), ("NODE_ENV", "staging"), ("DB_POOL_MIN", "20")])
            .overrides([("health.interval".to_owned(), "soon".to_owned())])
            .load()
            .unwrap_err();
    let mut found = lines(&problems);
    found.sort();
    let duration = "a duration such as 1500 (milliseconds), 250ms, 30s, 5m, 24h or 7d, from 1ms to 3650d";
    let mut expected = vec![
        "DB_POOL_MIN=\"20\": must not exceed the largest size of the pool (DB_POOL_MAX=10)".to_owned(),
        "NODE_ENV=\"staging\": expected one of development, test, production".to_owned(),
        "PORT=\"70000\": expected a whole number from 0 to 65535".to_owned(),
        format!("--set health.interval=\"soon\": expected {duration}"),
        format!("{file}:2 server.prot: unknown key; did you mean server.port?"),
        format!("{file}:5 log.level=\"loud\": expected one of off, error, warn, info, debug, trace"),
        format!("{file}:6 rediss: unknown section; did you mean redis?"),
    ];
    expected.sort();
    assert_eq!(found, expected);
    let text = problems.to_string();
    assert!(text.starts_with("the configuration has 7 problems\n  - "), "{text}");
}

#[test]
fn numbers_at_and_beyond_the_edges_are_accepted_or_refused_and_never_wrap() {
    let port = |text: &str| with_env([("PORT", text)]).load().map(|config| config.get::<Server>().port);
    for (text, expected) in [("0", 0), ("65535", 65_535), (" 80 ", 80), ("+80", 80), ("0080", 80)] {
        assert_eq!(port(text), Ok(expected), "{text}");
    }
    for text in
        ["70000", "65536", "-1", "abc", "8 0", "80.0", "1e3", "NaN", "inf", "0x50", "99999999999999999999"]
    {
        let expected = format!("PORT={text:?}: expected a whole number from 0 to 65535");
        assert_eq!(lines(&port(text).unwrap_err()), [expected]);
    }
}

#[test]
fn durations_beyond_any_clock_are_refused() {
    for text in ["4000d", "18446744073709551615", "18446744073709551615d", "-5s", "1.5s", "NaN", "5 weeks"] {
        let problems = with_env([("SHUTDOWN_TIMEOUT", text)]).load().unwrap_err();
        assert!(lines(&problems)[0].starts_with(&format!("SHUTDOWN_TIMEOUT={text:?}: expected a duration")));
    }
    let zero = with_env([("REQUEST_TIMEOUT", "0")]).load().unwrap_err();
    assert!(lines(&zero)[0].contains("from 1ms"), "{zero}");
}

#[test]
fn wrong_types_in_a_file_are_refused_with_the_line_and_what_was_written() {
    let dir = tempdir().unwrap();
    let text = "[server]\nport = 80.5\nenv = true\ncors_origin = [1]\nrequest_timeout = nan\n\
                host = 2020-01-01\nbody_limit = 99999999999999999999\nheader_timeout = { s = 1 }\n";
    let file = write(dir.path(), "mainstay.toml", text);
    let found = lines(&with_files(dir.path(), []).load().unwrap_err());
    for start in [
        ":2 server.port=\"80.5\": expected a whole",
        ":3 server.env=\"true\": expected one of",
        ":4 server.cors_origin=\"[1]\": expected",
        ":5 server.request_timeout=\"nan\": expected a duration",
        ":6 server.host=\"2020-01-01\": expected an IP address",
        ":7 server.body_limit=\"99999999999999999999\": expected a whole number from 1 to",
        ":8 server.header_timeout=\"{ s = 1 }\": expected a duration",
    ] {
        assert!(found.iter().any(|line| line.starts_with(&format!("{file}{start}"))), "{start}: {found:#?}");
    }
    assert_eq!(found.len(), 7, "{found:#?}");
}

#[test]
fn a_file_takes_numbers_and_text_alike() {
    let dir = tempdir().unwrap();
    let text = "[server]\nport = '0x50'\n";
    write(dir.path(), "mainstay.toml", text);
    assert!(with_files(dir.path(), []).load().is_err());
    let text = "[server]\nport = 0x50\nshutdown_timeout = 1500\nrequest_timeout = '2m'\n\
                cors_origin = ['https://a.example', ' https://b.example ']\n[redis]\ntls = 'yes'\n";
    write(dir.path(), "mainstay.toml", text);
    let config = with_files(dir.path(), []).load().unwrap();
    let server = config.get::<Server>();
    assert_eq!(
        (server.port, server.shutdown_timeout.as_millis(), server.request_timeout.as_secs()),
        (80, 1500, 120)
    );
    assert_eq!(server.cors_origin, ["https://a.example", "https://b.example"]);
    assert_eq!(config.value("redis.tls"), Some(true.into()));
}

#[test]
fn a_mistake_in_a_file_gets_the_suggestion_a_person_needs() {
    let dir = tempdir().unwrap();
    let suggestion = |text: &str| {
        write(dir.path(), "mainstay.toml", text);
        let found = lines(&with_files(dir.path(), []).load().unwrap_err());
        assert_eq!(found.len(), 1, "{found:?}");
        found[0].split_once(": ").map(|(_, message)| message.to_owned()).unwrap()
    };
    assert_eq!(
        suggestion("[rate_limit]\nmax_request = 1"),
        "unknown key; did you mean rate_limit.max_requests?"
    );
    assert_eq!(suggestion("[server]\nPORT = 1"), "unknown key; did you mean server.port?");
    assert_eq!(suggestion("[server]\npool_max = 1"), "unknown key; did you mean database.pool_max?");
    assert_eq!(suggestion("[server]\ncolour = 1"), "unknown key");
    assert_eq!(suggestion("[rate-limit]\nwindow = 1"), "unknown section; did you mean rate_limit?");
    assert_eq!(
        suggestion("DATABASE_URL = 'x'"),
        "unknown key outside of a section; did you mean database.url?"
    );
    assert_eq!(suggestion("redis = 1"), "expected a section: [redis] on a line of its own");
}

#[test]
fn every_syntax_error_of_a_file_has_its_line() {
    let dir = tempdir().unwrap();
    let file = write(dir.path(), "mainstay.toml", "[server]\nport = \nhost = 'a\n");
    let found = lines(&with_files(dir.path(), []).load().unwrap_err());
    assert!(found.iter().any(|line| line.starts_with(&format!("{file}:2: "))), "{found:?}");
    assert!(found.iter().any(|line| line.starts_with(&format!("{file}:3: "))), "{found:?}");
}

#[test]
fn a_file_variable_that_cannot_be_read_names_the_variable_and_the_file() {
    let dir = tempdir().unwrap();
    let gone = dir.path().join("gone").to_str().unwrap().to_owned();
    let binary = dir.path().join("binary");
    std::fs::write(&binary, [0xff, 0xfe]).unwrap();
    let large = dir.path().join("large");
    std::fs::write(&large, vec![b'a'; 1024 * 1024 + 1]).unwrap();
    for (path, why) in [
        (gone.as_str(), "there is no such file"),
        (dir.path().to_str().unwrap(), "it is not a regular file"),
        ("/dev/zero", "it is not a regular file"),
        (binary.to_str().unwrap(), "it is not text in UTF-8"),
        (large.to_str().unwrap(), "it is larger than 1 MiB"),
    ] {
        let problems = with_env([("REDIS_PASSWORD_FILE", path)]).load().unwrap_err();
        assert_eq!(
            lines(&problems),
            [format!("REDIS_PASSWORD_FILE={path:?}: expected a readable file: {why}")]
        );
    }
}

#[test]
fn a_variable_and_its_file_variable_cannot_both_be_set() {
    let problems = with_env([("PORT", "1"), ("PORT_FILE", "/nowhere")]).load().unwrap_err();
    assert_eq!(lines(&problems), ["PORT: is set together with PORT_FILE; set one of them"]);
}

#[test]
fn a_variable_that_is_not_text_is_a_problem_only_if_it_is_ours() {
    let bytes = || OsString::from_vec(vec![0xff, 0x80]);
    let load = |name: &str| Config::builder().no_files().env_vars([(OsString::from(name), bytes())]).load();
    assert_eq!(lines(&load("PORT").unwrap_err()), ["PORT: expected text in UTF-8"]);
    assert!(load("SOMEONE_ELSES").is_ok());
}

#[test]
fn an_unknown_override_is_refused_with_a_suggestion() {
    let load = |key: &str| with_env([]).overrides([(key.to_owned(), "1".to_owned())]).load().unwrap_err();
    assert_eq!(lines(&load("server.prt")), ["--set server.prt: unknown setting; did you mean server.port?"]);
    assert_eq!(lines(&load("REDIS_PROT")), ["--set REDIS_PROT: unknown setting; did you mean REDIS_PORT?"]);
}

#[test]
fn settings_that_contradict_each_other_are_refused_together() {
    for (variables, expected) in [
        (
            [("DATABASE_URL", "sqlite://a.db"), ("DB_DIALECT", "postgres")],
            "DB_DIALECT=\"postgres\": cannot be combined with a URL, which says it all; set one of them (DATABASE_URL)",
        ),
        ([("DB_HOST", "db"), ("PORT", "1")], "DB_HOST=\"db\": needs the dialect as well (DB_DIALECT)"),
        (
            [("DB_DIALECT", "mysql"), ("DB_HOST", "db")],
            "DB_DIALECT=\"mysql\": needs the name of the database as well (DB_NAME)",
        ),
        (
            [("REDIS_URL", "redis://h"), ("REDIS_HOST", "h")],
            "REDIS_URL: cannot be combined with a host; set one of them (REDIS_HOST=h)",
        ),
        (
            [("JWT_SECRET", SECRET), ("JWT_JWKS_URL", "https://a/jwks")],
            "JWT_SECRET: cannot be combined with a key pair; set one of them (JWT_JWKS_URL=https://a/jwks)",
        ),
        (
            [("JWT_SECRET", SECRET), ("JWT_ALGORITHM", "ES256")],
            "JWT_ALGORITHM=\"ES256\": is not one that a secret can sign: HS256, HS384 or HS512",
        ),
        (
            [("JWT_PUBLIC_KEY", "k"), ("JWT_ALGORITHM", "HS256")],
            "JWT_ALGORITHM=\"HS256\": is not one that a key pair can sign",
        ),
        (
            [("SESSION_IDLE", "2d"), ("SESSION_LIFETIME", "1d")],
            "SESSION_IDLE=\"2d\": must not be longer than the session's life (SESSION_LIFETIME=1d)",
        ),
        (
            [("METRICS_PORT", "3000"), ("PORT", "3000")],
            "METRICS_PORT=\"3000\": must differ from the main port; leave it unset to use that (PORT=3000)",
        ),
        (
            [("TLS_CERT", "a.pem"), ("PORT", "1")],
            "TLS_CERT=\"a.pem\": needs its private key as well (TLS_KEY)",
        ),
        (
            [("TLS_KEY", "a.pem"), ("PORT", "1")],
            "TLS_KEY=\"a.pem\": needs its certificate as well (TLS_CERT)",
        ),
        (
            [("HEALTH_CHECK_PATH", "/x"), ("METRICS_PATH", "/x")],
            "HEALTH_CHECK_PATH=\"/x\": must differ from the path of the metrics (METRICS_PATH=/x)",
        ),
    ] {
        assert_eq!(lines(&with_env(variables).load().unwrap_err()), [expected]);
    }
}

#[test]
fn a_value_that_is_refused_itself_does_not_cause_further_problems() {
    let problems = with_env([("DB_DIALECT", "oracle"), ("DB_HOST", "db")]).load().unwrap_err();
    assert_eq!(lines(&problems), ["DB_DIALECT=\"oracle\": expected one of sqlite, postgres, mysql, mariadb"]);
}

#[test]
fn a_value_cannot_forge_a_line_of_the_log_nor_flood_it() {
    let text = format!("x\n2026-01-01 INFO forged\u{1b}[31m{}", "y".repeat(10_000));
    let key = |first: &str| serde_json::to_string(&format!("{first}{text}")).unwrap();
    let dir = tempdir().unwrap();
    let file = format!("{} = 1\n[server]\n{} = 1\n[{}]\n", key("a"), key("b"), key("c"));
    write(dir.path(), "mainstay.toml", &file);
    let config = Config::for_tests([]);
    let found = [
        lines(&with_env([("PORT", text.as_str())]).load().unwrap_err()),
        lines(&with_env([("DB_HOST", text.as_str()), ("DATABASE_URL", "sqlite://a")]).load().unwrap_err()),
        lines(&with_env([("REDIS_HOST", text.as_str()), ("REDIS_URL", "redis://a")]).load().unwrap_err()),
        lines(&with_env([]).overrides([(text.clone(), "1".to_owned())]).load().unwrap_err()),
        lines(&with_files(dir.path(), []).load().unwrap_err()),
        vec![config.update(&text, 1).unwrap_err().to_string()],
    ]
    .concat();
    assert_eq!(found.len(), 8, "{found:#?}");
    for line in found {
        assert!(!line.contains(['\n', '\u{1b}']) && line.len() < 1_000, "{line}");
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct Clash {
    port: u16,
}

impl Section for Clash {
    const NAME: &'static str = "clash";
    const FIELDS: &'static [Field] = &[Field::new("port", Kind::PORT, "Clashes").env(&["PORT"]).default("1")];
}

#[test]
fn a_name_that_is_declared_twice_is_found_when_the_process_starts() {
    let problems = with_env([]).section::<Clash>().load().unwrap_err();
    assert_eq!(lines(&problems), ["PORT: is declared by both server.port and clash.port"]);
    let problems = with_env([]).section::<Server>().load().unwrap_err();
    assert_eq!(lines(&problems), ["server: two sections have this name"]);
}
