//! Promises of `config` and `secret`, one file per group of promises.

// clippy's own exception for tests does not reach their helper functions.

mod layers;
mod named;
mod problems;
mod properties;
mod reload;
mod secrets;
mod sections;
mod updates;

use std::path::Path;

use mainstay_core::config::{Builder, Config, Problems};

/// No files and exactly these variables.
fn with_env<const N: usize>(variables: [(&str, &str); N]) -> Builder {
    Config::builder().no_files().env_vars(variables)
}

/// The files of `dir` and exactly these variables.
fn with_files<const N: usize>(dir: &Path, variables: [(&str, &str); N]) -> Builder {
    Config::builder().path(dir).env_vars(variables)
}

fn write(dir: &Path, name: &str, text: &str) -> String {
    let path = dir.join(name);
    std::fs::write(&path, text).expect("the directory of a test is writable");
    path.to_str().expect("the directory of a test has a plain name").to_owned()
}

/// Each problem as one line.
fn lines(problems: &Problems) -> Vec<String> {
    problems.iter().map(ToString::to_string).collect()
}

fn origin(config: &Config, path: &str) -> String {
    let entries = config.entries();
    entries.iter().find(|entry| entry.path == path).expect("the path exists").origin.to_string()
}
