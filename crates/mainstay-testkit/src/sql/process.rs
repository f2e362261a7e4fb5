//! A server's process, and the processes it starts: PostgreSQL has one for each connection, in sessions of their own,
//! which a signal to the server or to its group does not reach.

use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, geteuid, kill_process, test_kill_process};

use super::DEADLINE;
use crate::eventually;

/// `nobody`, who owns nothing.
const NOBODY: u32 = 65_534;

/// Both servers refuse to run as root.
pub(super) fn unprivileged(command: &mut Command) -> &mut Command {
    if geteuid().is_root() {
        command.uid(NOBODY).gid(NOBODY);
    }
    command
}

/// Makes a directory that such a process may write in.
pub(super) fn make_dir(dir: &Path) {
    std::fs::create_dir_all(dir).expect("a directory can be made");
    if geteuid().is_root() {
        std::os::unix::fs::chown(dir, Some(NOBODY), Some(NOBODY)).expect("root can give a directory away");
    }
}

/// Runs a program to its end and answers what it wrote.
///
/// # Panics
///
/// If it fails, with what it wrote.
pub(super) fn finish(mut command: Command) -> String {
    let output = command.stdin(Stdio::null()).output();
    let output = output.unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{command:?}: {text}{}", String::from_utf8_lossy(&output.stderr));
    text
}

/// Starts a server that writes to `log`, out of reach of the signal that ends the test's group.
pub(super) fn start(mut command: Command, log: &Path) -> Child {
    let log = File::options().create(true).append(true).open(log).expect("a log can be written");
    unprivileged(&mut command)
        .stdin(Stdio::null())
        .stderr(log.try_clone().expect("a file can be shared"))
        .stdout(log)
        .process_group(0)
        .spawn()
        .unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"))
}

/// Ends it and its children at once, and returns when they have ended.
pub(super) fn kill(child: &mut Child) {
    let server = pid_of(child);
    // Stands still, so that it starts no more of them.
    let _ = kill_process(server, Signal::STOP);
    let others = children(server);
    child.kill().expect("a child that was not waited for can be killed");
    for other in &others {
        let _ = kill_process(*other, Signal::KILL);
    }
    child.wait().expect("a child can be waited for");
    eventually("the server's processes have ended", DEADLINE, || {
        others.iter().all(|other| test_kill_process(*other).is_err() || is_zombie(*other))
    });
}

/// Stops all of it, and returns when it stands still.
pub(super) fn pause(child: &Child) {
    let server = pid_of(child);
    let stop = |pid| {
        let _ = kill_process(pid, Signal::STOP);
        eventually("the process stands still", DEADLINE, || matches!(state(pid), None | Some('T' | 'Z')));
    };
    stop(server);
    children(server).into_iter().for_each(stop);
}

/// Ends the pause.
pub(super) fn resume(child: &Child) {
    let server = pid_of(child);
    for pid in children(server).into_iter().chain([server]) {
        let _ = kill_process(pid, Signal::CONT);
    }
}

fn pid_of(child: &Child) -> Pid {
    pid(child.id()).expect("a process id is positive")
}

fn pid(number: u32) -> Option<Pid> {
    i32::try_from(number).ok().and_then(Pid::from_raw)
}

fn children(parent: Pid) -> Vec<Pid> {
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let numbers = processes.filter_map(|entry| pid(entry.file_name().to_str()?.parse().ok()?));
    numbers.filter(|pid| stat(*pid, 1).is_some_and(|of| of == parent.to_string())).collect()
}

fn state(pid: Pid) -> Option<char> {
    stat(pid, 0)?.chars().next()
}

fn is_zombie(pid: Pid) -> bool {
    state(pid) == Some('Z')
}

/// A field of `/proc/<pid>/stat` after the name in parentheses: the state, the parent.
fn stat(pid: Pid, field: usize) -> Option<String> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = text.rsplit_once(") ")?;
    fields.split(' ').nth(field).map(str::to_owned)
}
