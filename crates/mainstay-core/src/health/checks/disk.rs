use std::path::PathBuf;

use super::fullness;
use crate::health::Check;

/// Limits of [`disk`], as shares from 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct DiskOptions {
    /// Fuller than this is a warning. Default 0.85.
    pub warn: f64,
    /// Fuller than this is a failure. Default 0.95.
    pub fail: f64,
}

impl Default for DiskOptions {
    fn default() -> Self {
        Self { warn: 0.85, fail: 0.95 }
    }
}

/// The check `disk`: how full the file system that holds `path` is, in blocks or in inodes,
/// whichever is worse, as `df` counts it (what is reserved for root is not available).
pub fn disk(path: impl Into<PathBuf>, options: DiskOptions) -> Check {
    let path = path.into();
    let DiskOptions { warn, fail } = options;
    Check::blocking("disk", move || {
        let stat = rustix::fs::statvfs(&path)
            .map_err(|error| format!("{}: {}", path.display(), std::io::Error::from(error)))?;
        let blocks = share(stat.f_blocks.saturating_sub(stat.f_bfree), stat.f_bavail);
        let inodes = share(stat.f_files.saturating_sub(stat.f_ffree), stat.f_favail);
        let what = if inodes > blocks { "inodes" } else { "space" };
        let detail = format!("{what} of the file system of {}", path.display());
        Ok::<_, String>(fullness(blocks.max(inodes), warn, fail, &detail))
    })
    .kind("system")
}

/// Used share of what can be used; a file system that does not count reports zeros.
#[expect(clippy::cast_precision_loss, reason = "a share needs no exact bytes")]
fn share(used: u64, available: u64) -> f64 {
    let total = used.saturating_add(available);
    if total == 0 { 0.0 } else { used as f64 / total as f64 }
}
