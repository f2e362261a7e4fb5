//! `cargo xtask bench`: every benchmark of the workspace, one after the other.

use crate::metadata;
use crate::step::{self, Failure, cargo};

/// Runs each bench target by name: plain `cargo bench` would also start the libtest harness of
/// libraries and binaries, which does not know criterion's arguments.
pub(crate) fn run(args: &[String]) -> Result<(), Failure> {
    let filter: Vec<&str> = match args.split_first() {
        None => Vec::new(),
        Some((dashes, filter)) if dashes == "--" => filter.iter().map(String::as_str).collect(),
        Some((arg, _)) => return Err(Failure::Usage(format!("unexpected argument `{arg}`"))),
    };
    for package in metadata::packages()? {
        for bench in package.targets_of("bench") {
            let target = ["bench", "--package", &package.name, "--bench", &bench.name, "--"];
            step::run(cargo(&[&target, &filter[..]].concat()))?;
        }
    }
    Ok(())
}
