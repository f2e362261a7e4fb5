//! `cargo xtask test`: installs what the tests need, runs every test, and ends with the count.

use std::io::{self, BufRead, BufReader, IsTerminal, Read, Write};
use std::process::{Command, Stdio};

use crate::install::install_missing;
use crate::step::{Failure, cargo, command_line, has_cargo_command, step};
use crate::tally::{Summary, Tally};

/// Runs unit and integration tests, those of the reference service on each database, then doc tests: the next even if
/// the last fail, so that the count in the last line is complete.
pub(crate) fn run(args: &[String]) -> Result<(), Failure> {
    let (options, filter) = match args.iter().position(|arg| arg == "--") {
        Some(at) => (&args[..at], &args[at + 1..]),
        None => (args, &[][..]),
    };
    let no_install = options.first().is_some_and(|option| option == "--no-install");
    Failure::unless_empty(&options[usize::from(no_install)..])?;
    install_missing(!no_install)?;

    let mut total = Tally::default();
    let (runner, summary) = tests(filter);
    total += run_and_count(runner, summary);
    for database in ["postgres", "mariadb"] {
        let (runner, summary) = service_tests(database, filter);
        total += run_and_count(runner, summary);
    }
    total += run_and_count(doc_tests(filter), Summary::Libtest);
    if total.passed + total.failed == 0 {
        eprintln!("error: no test ran");
    }
    println!("total: {} passed, {} failed", total.passed, total.failed);
    if total.failed == 0 && total.passed > 0 { Ok(()) } else { Err(Failure::Reported) }
}

/// Everything but doc tests, through nextest where it is installed.
fn tests(filter: &[String]) -> (Command, Summary) {
    if !has_cargo_command("nextest") {
        let mut command = cargo(&["test", "--workspace", "--all-features", "--lib", "--bins", "--tests"]);
        command.args(["--no-fail-fast", "--"]).args(filter);
        return (command, Summary::Libtest);
    }
    (nextest(filter), Summary::Nextest)
}

/// What the reference service promises, with a server as its database; what is about databases starts its own.
fn service_tests(database: &str, filter: &[String]) -> (Command, Summary) {
    let (mut command, summary) = if has_cargo_command("nextest") {
        let mut command = nextest(filter);
        command.args(["-E", "binary_id(user-service::it) - test(/^databases::/)"]);
        (command, Summary::Nextest)
    } else {
        let mut command = cargo(&["test", "-p", "user-service", "--all-features", "--test", "it"]);
        command.args(["--no-fail-fast", "--", "--skip", "databases::"]).args(filter);
        (command, Summary::Libtest)
    };
    command.env("TEST_DATABASE", database);
    (command, summary)
}

fn nextest(filter: &[String]) -> Command {
    let profile = if std::env::var("CI").is_ok_and(|ci| ci == "true") { "ci" } else { "default" };
    let mut command = cargo(&["nextest", "run", "--workspace", "--all-features", "--profile", profile]);
    if !filter.is_empty() {
        // The filter may name doc tests only.
        command.arg("--no-tests=pass").args(filter);
    }
    command
}

/// The examples in the documentation, which nextest does not run.
fn doc_tests(filter: &[String]) -> Command {
    let mut command = cargo(&["test", "--workspace", "--all-features", "--doc", "--no-fail-fast", "--"]);
    command.args(filter);
    command
}

/// Runs a test runner, shows its output as it comes, and reads the counts from it. A runner that
/// fails without naming a failed test (the build broke) counts as one failure.
fn run_and_count(mut command: Command, summary: Summary) -> Tally {
    if io::stderr().is_terminal() {
        command.env("CARGO_TERM_COLOR", "always");
    }
    let mut tally = Tally::default();
    let ended = step(&command_line(&command), || {
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| Failure::Failed(error.to_string()))?;
        let (out, err) = (child.stdout.take(), child.stderr.take());
        let (from_out, from_err) = std::thread::scope(|threads| {
            let out = threads.spawn(|| out.map(|out| pass_on(out, io::stdout(), summary)));
            let err = err.map(|err| pass_on(err, io::stderr(), summary));
            (out.join().ok().flatten(), err)
        });
        tally += from_out.unwrap_or_default();
        tally += from_err.unwrap_or_default();
        match child.wait() {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => Err(Failure::Failed(status.to_string())),
            Err(error) => Err(Failure::Failed(error.to_string())),
        }
    });
    if let Err(Failure::Failed(why)) = ended
        && tally.failed == 0
    {
        eprintln!("error: the test runner failed: {why}");
        tally.failed = 1;
    }
    tally
}

/// Copies line by line, counting. A closed terminal ends the copying, not the reading: the runner
/// must not block on a full pipe.
fn pass_on(from: impl Read, mut to: impl Write, summary: Summary) -> Tally {
    let mut tally = Tally::default();
    let mut lines = BufReader::new(from);
    let mut line = Vec::new();
    while lines.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
        let _ = to.write_all(&line).and_then(|()| to.flush());
        tally += summary.read(&String::from_utf8_lossy(&line));
        line.clear();
    }
    tally
}
