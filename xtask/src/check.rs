//! `cargo xtask check`: what must hold before a commit.

use crate::step::{self, Failure, cargo, has_cargo_command, step};
use crate::{floors, guarantees};

/// Runs the cheap steps first; the first that fails ends the check.
pub(crate) fn run(args: &[String]) -> Result<(), Failure> {
    Failure::unless_empty(args)?;
    step::run(cargo(&["fmt", "--all", "--", "--check"]))?;
    step("floors", floors::check)?;
    step("guarantees", guarantees::check)?;
    clippy(&[])?;
    clippy(&["--all-features"])?;
    let mut doc = cargo(&["doc", "--workspace", "--no-deps", "--all-features"]);
    doc.env("RUSTDOCFLAGS", "-D warnings");
    step::run(doc)?;
    if has_cargo_command("deny") {
        return step::run(cargo(&["deny", "check", "bans", "licenses", "sources"]));
    }
    println!("==> cargo deny: not run; `cargo install --locked cargo-deny` installs it");
    Ok(())
}

fn clippy(features: &[&str]) -> Result<(), Failure> {
    let targets = ["clippy", "--workspace", "--all-targets"];
    step::run(cargo(&[&targets, features, &["--", "-D", "warnings"]].concat()))
}
