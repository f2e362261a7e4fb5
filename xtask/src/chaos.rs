//! `cargo xtask chaos`: the random tests of the primitives at full scale.

use crate::step::{self, Failure, cargo};

/// How many times the rounds of an ordinary run: enough for a million drops of locks, three million of loads
/// and three million events.
const FULL_SCALE: &str = "150";

/// The rooms whose random tests count rounds.
const ROOMS: &[&str] = &["cache::", "event::", "lock::", "rate_limit::"];

/// Optimized, because a million rounds are; `MAINSTAY_ROUNDS` and `MAINSTAY_SEED` are the test's own.
pub(crate) fn run(args: &[String]) -> Result<(), Failure> {
    Failure::unless_empty(args)?;
    let mut command = cargo(&["test", "--release", "--package", "mainstay-core", "--test", "it", "--"]);
    command.args(ROOMS);
    if std::env::var_os("MAINSTAY_ROUNDS").is_none() {
        command.env("MAINSTAY_ROUNDS", FULL_SCALE);
    }
    step::run(command)
}
