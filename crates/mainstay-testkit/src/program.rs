//! Programs that tests run.

use std::path::PathBuf;

/// Finds a program in `PATH` or `/usr/sbin`, where Debian keeps daemons.
///
/// ```
/// let shell = mainstay_testkit::program("sh", "dash");
/// assert!(shell.is_absolute());
/// ```
///
/// # Panics
///
/// If the program is missing; the message holds the command that installs it. A test that skipped
/// itself instead would be green without having proved anything.
#[track_caller]
#[must_use]
pub fn program(name: &str, debian_package: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path)
        .chain([PathBuf::from("/usr/sbin")])
        .map(|dir| dir.join(name))
        .find(|file| file.is_file());
    found.unwrap_or_else(|| {
        panic!(
            "`{name}` is missing: install it with `apt-get install {debian_package}` (or run `cargo xtask test`)"
        )
    })
}
