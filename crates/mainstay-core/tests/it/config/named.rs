//! Several sections of one type.

use mainstay_core::config::{Builder, Config, Field, Kind, Section};
use serde::{Deserialize, Serialize};
use tempfile::tempdir;

use super::{lines, origin, with_env, with_files, write};

#[derive(Debug, Serialize, Deserialize)]
struct Mailbox {
    size: u32,
}

impl Section for Mailbox {
    const NAME: &'static str = "mailboxes";
    const FIELDS: &'static [Field] =
        &[Field::new("size", Kind::Integer { min: 1, max: 1000 }, "Letters it holds")
            .env(&["MAILBOX_*_SIZE"])
            .default("10")];
}

fn two(builder: Builder) -> Builder {
    builder.named_section::<Mailbox>("in").named_section::<Mailbox>("way-out")
}

fn sizes(config: &Config) -> [u32; 2] {
    ["in", "way-out"].map(|name| config.get_named::<Mailbox>(name).size)
}

#[test]
fn each_has_its_own_table_its_own_variables_and_its_own_place_in_a_file() {
    let dir = tempdir().unwrap();
    write(dir.path(), "mainstay.toml", "[mailboxes.in]\nsize = 20\n[mailboxes.way-out]\nsize = 30\n");
    let config = two(with_files(dir.path(), [("MAILBOX_WAY_OUT_SIZE", "40")])).load().unwrap();
    assert_eq!(sizes(&config), [20, 40]);
    assert_eq!(origin(&config, "mailboxes.way-out.size"), "env MAILBOX_WAY_OUT_SIZE");
    assert_eq!(config.to_json()["mailboxes.in"]["size"]["value"], 20);
}

#[test]
fn what_does_not_fit_is_named_with_its_place() {
    let dir = tempdir().unwrap();
    let text = "[mailboxes.inn]\nsize = 1\n[mailboxes.in]\nsize = 0\nsise = 1\n[mailboxes]\nway-out = 3\n";
    let path = write(dir.path(), "mainstay.toml", text);
    let problems = two(with_files(dir.path(), [("MAILBOX_IN_SIZE", "no")])).load().unwrap_err();
    let expected = "expected a whole number from 1 to 1000";
    let mut found = lines(&problems);
    found.sort();
    assert_eq!(
        found,
        [
            format!("{path}:1 mailboxes.inn: unknown section; did you mean mailboxes.in?"),
            format!("{path}:4 mailboxes.in.size=\"0\": {expected}"),
            format!("{path}:5 mailboxes.in.sise: unknown key; did you mean mailboxes.in.size?"),
            format!(
                "{path}:7 mailboxes.way-out: expected a section: [mailboxes.way-out] on a line of its own"
            ),
            format!("MAILBOX_IN_SIZE=\"no\": {expected}"),
        ]
    );
}

#[tokio::test]
async fn a_change_of_one_wakes_who_follows_it_and_nobody_else() {
    let config = two(with_env([])).load().unwrap();
    let mut outer = config.watch_named::<Mailbox>("way-out");
    let mut inner = config.watch_named::<Mailbox>("in");
    config.update("mailboxes.in.size", 5).unwrap();
    assert_eq!(inner.changed().await.unwrap().size, 5);
    assert!(futures_util::poll!(std::pin::pin!(outer.changed())).is_pending());
    assert_eq!(sizes(&config), [5, 10]);
}

#[test]
#[should_panic(expected = "is not a section of this configuration")]
fn a_name_that_was_not_declared_is_the_programs_mistake() {
    let config = two(with_env([])).load().unwrap();
    let _never = config.get_named::<Mailbox>("nowhere");
}
