//! What ends a server when nobody is left to drop it.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::program;

/// Waits for the end of its input, which comes with the end of the test's process, however that ends.
const SCRIPT: &str = r#"read -r never; kill -9 "$1"; rm -rf -- "$2""#;

/// A shell that kills a server and removes its directory once this process is gone: an aborted or
/// killed test drops nothing, nor does a `static` at the end. Dropping the guard calls it off.
#[derive(Debug)]
pub(crate) struct Guard(Child);

impl Guard {
    pub(crate) fn of(server: &Child, dir: &Path) -> Self {
        let shell = Command::new(program("sh", "dash"))
            .args(["-c", SCRIPT, "sh", &server.id().to_string()])
            .arg(dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // Not reached by the signal that ends the test's group.
            .process_group(0)
            .spawn();
        Self(shell.expect("a shell can be started"))
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        // Killed while its input is still open, so that it does not do its work. An error means that
        // somebody else has killed it.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
