//! Developer commands of the repository. `cargo xtask help` lists them; one file per command.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command-line tool talks to its user")]

mod bench;
mod chaos;
mod check;
mod features;
mod floors;
mod guarantees;
mod install;
mod metadata;
mod step;
mod tally;
mod test;

use std::process::ExitCode;

use step::Failure;

/// A command: its name, its line in the help, and what it does with its arguments.
struct Command {
    name: &'static str,
    help: &'static str,
    run: fn(&[String]) -> Result<(), Failure>,
}

/// A new command is a file and a line here.
const COMMANDS: &[Command] = &[
    Command {
        name: "check",
        help: "the pre-commit check: format, lints, floors, rustdoc, licences",
        run: check::run,
    },
    Command {
        name: "test",
        help: "install what tests need and run them all [--no-install] [-- FILTER]",
        run: test::run,
    },
    Command {
        name: "features",
        help: "check each library with no feature, each single feature, all features",
        run: features::run,
    },
    Command { name: "bench", help: "run the benchmarks [-- FILTER]", run: bench::run },
    Command {
        name: "chaos",
        help: "run the random tests of the primitives at full scale, optimized",
        run: chaos::run,
    },
];

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let Some((name, rest)) = args.split_first() else {
        eprint!("{}", help());
        return ExitCode::from(2);
    };
    if matches!(name.as_str(), "help" | "--help" | "-h") {
        print!("{}", help());
        return ExitCode::SUCCESS;
    }
    let Some(command) = COMMANDS.iter().find(|command| command.name == name) else {
        eprint!("error: there is no command `{name}`\n\n{}", help());
        return ExitCode::from(2);
    };
    match (command.run)(rest) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Usage(message)) => {
            eprint!("error: {message}\n\n{}", help());
            ExitCode::from(2)
        }
        Err(Failure::Failed(message)) => {
            eprintln!("error: {message}");
            ExitCode::FAILURE
        }
        Err(Failure::Reported) => ExitCode::FAILURE,
    }
}

fn help() -> String {
    let mut text = String::from("usage: cargo xtask <command>\n\n");
    for Command { name, help, .. } in COMMANDS {
        text += &format!("  {name:<10} {help}\n");
    }
    text
}
