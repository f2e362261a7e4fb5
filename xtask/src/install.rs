//! Programs that tests run, and the Debian packages they come in.

use std::io::IsTerminal;
use std::process::Command;

use crate::step::{Failure, find_program, root, step};

/// Program → Debian package. A test that runs a new program gets a line here.
const NEEDED: &[(&str, &str)] = &[
    ("mariadbd", "mariadb-server"),
    ("node", "nodejs"),
    ("npm", "npm"),
    ("openssl", "openssl"),
    // The server's own programs are in a directory that is not searched; this one comes with them.
    ("pg_ctlcluster", "postgresql"),
    ("promtool", "prometheus"),
    ("redis-sentinel", "redis-sentinel"),
    ("redis-server", "redis-server"),
];

/// Packages of npm that tests run against, and where they go: not into the repository.
const NPM: &[(&str, &str)] = &[("jsonwebtoken", "9.0.2")];
const NPM_DIRECTORY: &str = "target/npm";

/// Installs what tests need and is missing; with `allowed` unset it only names it.
pub(crate) fn install_missing(allowed: bool) -> Result<(), Failure> {
    install_programs(allowed)?;
    install_npm_packages(allowed)
}

fn install_npm_packages(allowed: bool) -> Result<(), Failure> {
    let directory = root().join(NPM_DIRECTORY);
    let modules = directory.join("node_modules");
    let missing = NPM.iter().filter(|(name, _)| !modules.join(name).join("package.json").is_file());
    let packages: Vec<String> = missing.map(|(name, version)| format!("{name}@{version}")).collect();
    if packages.is_empty() {
        return Ok(());
    }
    let by_hand = format!("npm install --no-save --prefix {NPM_DIRECTORY} {}", packages.join(" "));
    if !allowed {
        println!("==> missing, and tests that need it will fail: `{by_hand}` installs it");
        return Ok(());
    }
    step(&by_hand, || {
        let failed = |why: &dyn std::fmt::Display| Failure::Failed(format!("`{by_hand}`: {why}"));
        std::fs::create_dir_all(&directory).map_err(|error| failed(&error))?;
        let mut npm = Command::new("npm");
        npm.args(["install", "--no-save", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix"]);
        match npm.arg(&directory).args(&packages).status() {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => Err(failed(&status)),
            Err(error) => Err(failed(&error)),
        }
    })
}

/// Installs the packages of missing programs.
fn install_programs(allowed: bool) -> Result<(), Failure> {
    let packages: Vec<&str> =
        NEEDED.iter().filter(|(program, _)| !find_program(program)).map(|(_, package)| *package).collect();
    if packages.is_empty() {
        return Ok(());
    }
    let by_hand = format!("apt-get install --no-install-recommends {}", packages.join(" "));
    if !allowed {
        println!("==> missing, and tests that need it will fail: `{by_hand}` installs it");
        return Ok(());
    }
    let failed = |why: &str| Failure::Failed(format!("{why}; install by hand: `{by_hand}`"));
    if !find_program("apt-get") {
        return Err(failed("this system has no apt-get"));
    }
    let mut installer = as_root().ok_or_else(|| failed("installing needs root, and there is no sudo"))?;
    installer.args(["sh", "-c", include_str!("install.sh"), "sh"]).args(&packages);
    step(&by_hand, || match installer.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(failed(&format!("the installation ended with {status}"))),
        Err(error) => Err(failed(&format!("cannot start the installation: {error}"))),
    })
}

/// A command prefix that runs the rest as root. Without a terminal sudo must not ask for a password:
/// nobody would answer.
fn as_root() -> Option<Command> {
    let id = Command::new("id").arg("-u").output().ok()?;
    if id.stdout.trim_ascii() == b"0" {
        return Some(Command::new("env"));
    }
    let mut sudo = find_program("sudo").then(|| Command::new("sudo"))?;
    if !std::io::stdin().is_terminal() {
        sudo.arg("--non-interactive");
    }
    Some(sudo)
}
