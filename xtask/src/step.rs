//! Steps of a command: named, timed, and the first that fails ends the command.

use std::path::Path;
use std::process::Command;
use std::time::Instant;

/// Why a command ended early.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The command line was wrong: exit code 2.
    Usage(String),
    /// A step failed: exit code 1.
    Failed(String),
    /// As `Failed`, but the output already ends with what matters.
    Reported,
}

impl Failure {
    /// Refuses arguments a command does not take.
    pub(crate) fn unless_empty(args: &[String]) -> Result<(), Self> {
        match args.first() {
            None => Ok(()),
            Some(arg) => Err(Self::Usage(format!("unexpected argument `{arg}`"))),
        }
    }
}

/// Runs one step and prints its name, its end and the time it took.
pub(crate) fn step(name: &str, work: impl FnOnce() -> Result<(), Failure>) -> Result<(), Failure> {
    println!("==> {name}");
    let started = now();
    let outcome = work();
    let seconds = started.elapsed().as_secs_f64();
    let end = if outcome.is_ok() { "ok" } else { "FAILED" };
    println!("==> {name}: {end} ({seconds:.1} s)");
    outcome
}

/// Runs a program as one step; its command line is the step's name.
pub(crate) fn run(mut command: Command) -> Result<(), Failure> {
    let line = command_line(&command);
    step(&line, || {
        let status =
            command.status().map_err(|error| Failure::Failed(format!("cannot start `{line}`: {error}")))?;
        if status.success() { Ok(()) } else { Err(Failure::Failed(format!("`{line}` ended with {status}"))) }
    })
}

/// `cargo` with these arguments, in the root of the workspace.
///
/// `cargo run` tells the program about the package it runs. Handed on, those variables would make
/// build scripts that watch them (ring's does) run again at each change between cargo and xtask.
pub(crate) fn cargo(args: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    for (name, _) in std::env::vars_os() {
        let told = ["CARGO_PKG_", "CARGO_MANIFEST_"];
        if told.iter().any(|prefix| name.to_string_lossy().starts_with(prefix)) {
            command.env_remove(name);
        }
    }
    command.args(args).current_dir(root());
    command
}

/// Whether `cargo <name>` is installed.
pub(crate) fn has_cargo_command(name: &str) -> bool {
    find_program(&format!("cargo-{name}"))
}

/// Whether a program is in `PATH`, or where Debian keeps daemons.
pub(crate) fn find_program(name: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let home_bin = std::env::home_dir().map(|home| home.join(".cargo/bin"));
    std::env::split_paths(&path)
        .chain(["/usr/sbin".into()])
        .chain(home_bin)
        .any(|dir| dir.join(name).is_file())
}

/// The root of the workspace.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask lies in the workspace")
}

/// What a person would type to run `command`.
pub(crate) fn command_line(command: &Command) -> String {
    let program = Path::new(command.get_program()).file_name().unwrap_or_default();
    let variables = command.get_envs().filter_map(|(name, value)| {
        let value = value?.to_string_lossy();
        Some(format!("{}={value}", name.to_string_lossy()))
    });
    let words = std::iter::once(program).chain(command.get_args());
    variables.chain(words.map(|word| word.to_string_lossy().into_owned())).collect::<Vec<_>>().join(" ")
}

#[expect(clippy::disallowed_methods, reason = "a person waits for this: the real clock is the right one")]
fn now() -> Instant {
    Instant::now()
}
