//! `cargo xtask features`: a feature gate must not break the crate without it, with it alone, or
//! with all others.

use crate::metadata;
use crate::step::{self, Failure, cargo};

/// Checks every library with no feature, each single one, and all of them. Clippy rather than
/// `cargo check`, so that an import which only some feature needs is refused, not just warned about.
pub(crate) fn run(args: &[String]) -> Result<(), Failure> {
    Failure::unless_empty(args)?;
    for package in metadata::packages()? {
        if package.targets_of("lib").next().is_none() {
            continue;
        }
        check(&package.name, &["--no-default-features"])?;
        if package.features.is_empty() {
            continue;
        }
        for feature in package.features.keys() {
            check(&package.name, &["--no-default-features", "--features", feature])?;
        }
        check(&package.name, &["--all-features"])?;
    }
    Ok(())
}

fn check(package: &str, features: &[&str]) -> Result<(), Failure> {
    step::run(cargo(
        &[&["clippy", "--package", package, "--lib"], features, &["--", "-D", "warnings"]].concat(),
    ))
}
