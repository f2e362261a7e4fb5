//! A server's process: its directory, its configuration file, its log.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::clock_shim::ClockShim;
use crate::freeze::freeze;
use crate::guard::Guard;

/// A program with a configuration file, in a directory of its own. Dropping it kills the process.
#[derive(Debug)]
pub(super) struct Process {
    program: PathBuf,
    clock: Option<ClockShim>,
    child: Option<(Child, Guard)>,
    paused: AtomicBool,
    dir: TempDir,
}

impl Process {
    /// Writes the configuration; nothing runs yet.
    pub(super) fn new(program: PathBuf, config: &str) -> Self {
        let dir = TempDir::new().expect("a temporary directory can be made");
        let process = Self { program, clock: None, child: None, paused: AtomicBool::new(false), dir };
        std::fs::create_dir(process.data()).expect("a directory can be made in it");
        std::fs::write(process.config(), config).expect("a file can be written in it");
        process
    }

    pub(super) fn dir(&self) -> &Path {
        self.dir.path()
    }

    fn data(&self) -> PathBuf {
        self.dir().join("data")
    }

    fn config(&self) -> PathBuf {
        self.dir().join("redis.conf")
    }

    /// Starts it, with whatever data a former run has left.
    pub(super) fn spawn(&mut self) {
        assert!(self.child.is_none(), "{} runs already", self.program.display());
        let log = File::options().create(true).append(true).open(self.dir().join("log"));
        let log = log.expect("a log can be written in the directory");
        let child = Command::new(&self.program)
            .arg(self.config())
            .envs(self.clock.iter().flat_map(ClockShim::env))
            .current_dir(self.data())
            .stdin(Stdio::null())
            .stderr(log.try_clone().expect("a file can be shared"))
            .stdout(log)
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {}: {error}", self.program.display()));
        let guard = Guard::of(&child, self.dir());
        self.child = Some((child, guard));
    }

    /// Ends it at once, frozen or not, and returns when it has ended.
    pub(super) fn kill(&mut self) {
        if let Some((mut child, guard)) = self.child.take() {
            child.kill().expect("a child that was not waited for can be killed");
            // First: once the child was waited for, its number may be another process's.
            drop(guard);
            child.wait().expect("a child can be waited for");
            self.paused.store(false, Ordering::SeqCst);
        }
    }

    pub(super) fn remove_data(&self) {
        std::fs::remove_dir_all(self.data()).expect("the server's directory can be removed");
        std::fs::create_dir(self.data()).expect("and made again");
    }

    /// Gives it a calendar clock of its own, from the next start.
    pub(super) fn shim_clock(&mut self) {
        self.clock = Some(ClockShim::compile(self.dir()));
    }

    pub(super) fn clock(&self) -> Option<&ClockShim> {
        self.clock.as_ref()
    }

    /// See [`RedisServer::configure`](super::RedisServer::configure).
    pub(super) fn configure(&self, name: &str, value: &str) {
        let old = std::fs::read_to_string(self.config()).expect("the configuration can be read");
        let kept = old.lines().filter(|line| line.split(' ').next() != Some(name));
        let new: String =
            kept.chain([format!("{name} {value}").as_str()]).flat_map(|line| [line, "\n"]).collect();
        std::fs::write(self.config(), new).expect("and written");
    }

    /// Whether it was killed.
    pub(super) fn is_killed(&self) -> bool {
        self.child.is_none()
    }

    /// Whether it can answer: neither killed nor paused.
    pub(super) fn is_up(&self) -> bool {
        !self.is_killed() && !self.paused.load(Ordering::SeqCst)
    }

    /// Whether it was started, not killed, and has not ended by itself.
    pub(super) fn is_alive(&mut self) -> bool {
        self.child.as_mut().is_some_and(|(child, _)| matches!(child.try_wait(), Ok(None)))
    }

    /// # Panics
    ///
    /// If it does not run.
    pub(super) fn pause(&self) {
        freeze(self.pid());
        self.paused.store(true, Ordering::SeqCst);
    }

    /// # Panics
    ///
    /// If it does not run.
    pub(super) fn resume(&self) {
        kill_process(self.pid(), Signal::CONT).expect("a process that was not waited for can be signalled");
        self.paused.store(false, Ordering::SeqCst);
    }

    fn pid(&self) -> Pid {
        let (child, _) = self.child.as_ref().expect("only a server that runs can be paused or resumed");
        i32::try_from(child.id()).ok().and_then(Pid::from_raw).expect("a process id is positive")
    }

    pub(super) fn log(&self) -> String {
        let log = std::fs::read(self.dir().join("log")).unwrap_or_default();
        String::from_utf8_lossy(&log).into_owned()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}
