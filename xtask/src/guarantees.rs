//! Whether `GUARANTEES.md` names tests that exist: a promise without its proof is advertising.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use crate::step::{Failure, root};

pub(crate) fn check() -> Result<(), Failure> {
    let read = |path: &str| {
        fs::read_to_string(root().join(path)).map_err(|error| Failure::Failed(format!("{path}: {error}")))
    };
    let listed = Command::new("git")
        .args(["ls-files", "*.rs"])
        .current_dir(root())
        .output()
        .map_err(|error| Failure::Failed(format!("cannot start git: {error}")))?;
    let mut defined = BTreeSet::new();
    for path in String::from_utf8_lossy(&listed.stdout).lines() {
        // A file deleted and not yet committed is listed, too.
        if let Ok(source) = read(path) {
            defined.extend(functions(&source).map(str::to_owned));
        }
    }
    let guarantees = read("GUARANTEES.md")?;
    let missing: Vec<&str> = named_tests(&guarantees).filter(|test| !defined.contains(*test)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    Err(Failure::Failed(format!("GUARANTEES.md names tests that do not exist: {}", missing.join(", "))))
}

/// What stands in backticks and reads like the name of a test: words joined by underscores.
fn named_tests(text: &str) -> impl Iterator<Item = &str> {
    let quoted = text.lines().flat_map(|line| line.split('`').skip(1).step_by(2));
    quoted.filter(|word| {
        word.matches('_').count() >= 2
            && word.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
    })
}

fn functions(source: &str) -> impl Iterator<Item = &str> {
    source.lines().filter_map(|line| {
        let (_, rest) = line.split_once("fn ")?;
        rest.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').next()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_are_what_reads_like_a_sentence_in_backticks() {
        let text = "- `pool_max` and `/health`: `a_test_of_this`, `Another`, `it_holds_2_things`";
        assert_eq!(named_tests(text).collect::<Vec<_>>(), ["a_test_of_this", "it_holds_2_things"]);
    }

    #[test]
    fn functions_are_found_however_they_are_declared() {
        let source = "async fn one() {\n    pub(crate) fn two<T>(x: T)\n// nothing\n fn three(";
        assert_eq!(functions(source).collect::<Vec<_>>(), ["one", "two", "three"]);
    }
}
