//! A calendar clock of a server that a test sets forward and back.

use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::program;

const SOURCE: &str = include_str!("clock_shim.c");

/// The library's file and the file with its offset, in a server's directory.
#[derive(Debug)]
pub(super) struct ClockShim {
    library: PathBuf,
    offset: PathBuf,
}

impl ClockShim {
    /// Compiles the library: a tenth of a second, and nothing is shared with other tests.
    pub(super) fn compile(dir: &Path) -> Self {
        let this = Self { library: dir.join("clock_shim.so"), offset: dir.join("clock_offset") };
        let source = dir.join("clock_shim.c");
        std::fs::write(&source, SOURCE).expect("a file can be written in the directory");
        std::fs::write(&this.offset, 0_i64.to_ne_bytes()).expect("a file can be written in the directory");
        let cc = Command::new(program("cc", "gcc"))
            .args(["-shared", "-fPIC", "-O2", "-Wall", "-Werror", "-o"])
            .args([&this.library, &source])
            .output()
            .expect("cc can be started");
        assert!(
            cc.status.success(),
            "the clock shim does not compile (`apt-get install gcc libc6-dev`?):\n{}",
            String::from_utf8_lossy(&cc.stderr)
        );
        this
    }

    /// The variables that put it under a server.
    pub(super) fn env(&self) -> [(&'static str, &Path); 2] {
        [("LD_PRELOAD", &self.library), ("MAINSTAY_CLOCK_SHIM", &self.offset)]
    }

    #[expect(clippy::cast_possible_truncation, reason = "saturates at 292 years, further than a test needs")]
    pub(super) fn step(&self, seconds: f64) {
        let bytes = std::fs::read(&self.offset).expect("the offset can be read");
        let old = i64::from_ne_bytes(bytes.try_into().expect("it has eight bytes"));
        let new = old.saturating_add((seconds * 1e9) as i64);
        // In place, not truncated first: the server has these eight bytes in its memory.
        let file = std::fs::File::options().write(true).open(&self.offset).expect("the offset can be opened");
        file.write_all_at(&new.to_ne_bytes(), 0).expect("and written");
    }
}
