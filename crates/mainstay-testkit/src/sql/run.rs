//! What the tests of a run share: a directory, the empty databases that servers begin with, one server of each kind.
//!
//! nextest gives every test a process of its own, so a run is the life of nextest then, and the life of this process
//! otherwise. A shell that watches it ends the servers and removes the directory.

use std::fs::{File, TryLockError};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use super::DEADLINE;
use super::kind::Kind;
use super::process::{finish, make_dir, start, unprivileged};
use super::server::answers;
use crate::{Port, eventually, program};

/// Waits for the end of the run.
const SCRIPT: &str = r#"
while kill -0 "$1" 2>/dev/null; do sleep 0.5; done
for file in "$2"/*/pid; do kill -9 "$(cat "$file")"; done
sleep 0.5
rm -rf -- "$2"
"#;

/// The run this process belongs to.
pub(super) struct Run {
    dir: PathBuf,
    life: u32,
}

impl Run {
    pub(super) fn current() -> &'static Self {
        static CURRENT: OnceLock<Run> = OnceLock::new();
        CURRENT.get_or_init(|| {
            let own = std::process::id();
            let (name, life) = match std::env::var("NEXTEST_RUN_ID") {
                Ok(run) => (
                    run,
                    rustix::process::getppid().map_or(own, |pid| pid.as_raw_nonzero().get().cast_unsigned()),
                ),
                Err(_) => (own.to_string(), own),
            };
            let dir = std::env::temp_dir().join(format!("mainstay-sql-{name}"));
            Run { dir, life }
        })
    }

    /// Does `work` unless another process of this run has: the file `done` says so, and holds what it answered.
    fn once(&self, kind: Kind, done: &str, work: impl FnOnce(PathBuf) -> String) -> String {
        let dir = self.dir.join(kind.name());
        std::fs::create_dir_all(&dir).expect("a directory can be made");
        let lock = File::create(dir.join("lock")).expect("a file can be made in it");
        eventually("the lock of the run is free", 2 * DEADLINE, || match lock.try_lock() {
            Ok(()) => true,
            Err(TryLockError::WouldBlock) => false,
            Err(TryLockError::Error(error)) => panic!("cannot lock: {error}"),
        });
        let answer = dir.join(done);
        if let Ok(answer) = std::fs::read_to_string(&answer) {
            return answer;
        }
        self.watch();
        let value = work(dir);
        std::fs::write(answer, &value).expect("a file can be written in it");
        value
    }

    /// The directory of an empty database, to be copied.
    pub(super) fn template(&self, kind: Kind) -> PathBuf {
        let dir = self.once(kind, "template.dir", |dir| {
            let data = dir.join("template");
            make_dir(&data);
            let mut init = kind.init(&data);
            unprivileged(&mut init).current_dir(&data);
            finish(init);
            data.into_os_string().into_string().expect("the directory of temporary files has a plain name")
        });
        PathBuf::from(dir)
    }

    /// The port of the shared server.
    pub(super) fn server(&self, kind: Kind) -> u16 {
        let template = self.template(kind);
        let port = self.once(kind, "port", |dir| {
            let data = dir.join("shared");
            copy(&template, &data);
            // Nobody is left to hold it: it is not asked for again while the server listens.
            let port = Port::reserve().number();
            let log = dir.join("log");
            let mut child = start(kind.serve(&data, port), &log);
            std::fs::write(dir.join("pid"), child.id().to_string()).expect("a file can be written in it");
            answers(kind, port, &mut child, &log);
            port.to_string()
        });
        port.parse().expect("a port is a number")
    }

    /// Starts the shell, once for this directory.
    fn watch(&self) {
        if File::create_new(self.dir.join("watched")).is_err() {
            return;
        }
        let shell = Command::new(program("sh", "dash"))
            .args(["-c", SCRIPT, "sh", &self.life.to_string()])
            .arg(&self.dir)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn();
        drop(shell.expect("a shell can be started"));
    }
}

/// Copies a directory with its owner.
pub(super) fn copy(from: &std::path::Path, to: &std::path::Path) {
    let mut copy = Command::new(program("cp", "coreutils"));
    copy.arg("-a").arg(from).arg(to);
    finish(copy);
}
