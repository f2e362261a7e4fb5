//! The database file before SQLite opens it: created private, proven writable, refused in plain words.
//!
//! An existing file is never opened here. SQLite's locks are POSIX record locks, and closing any other
//! descriptor of the file would drop those of every connection in this process.

use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, CWD, FileType, Mode, access, mknodat};
use rustix::io::Errno;

use super::error::WRITABLE;
use crate::Error;

/// Answers the absolute path. The directory is created 0700 and the file 0600 if they are missing.
pub(super) async fn prepare(path: &Path) -> Result<PathBuf, Error> {
    let path = path.to_owned();
    tokio::task::spawn_blocking(move || prepare_blocking(&path))
        .await
        .map_err(|stopped| Error::unavailable(format!("the file check did not finish: {stopped}")))?
}

fn prepare_blocking(path: &Path) -> Result<PathBuf, Error> {
    let path = std::path::absolute(path).map_err(|error| refused(path, &error))?;
    if path.is_dir() {
        return Err(Error::unavailable(format!(
            "{} is a directory; name a file in it, such as {}",
            path.display(),
            path.join("app.db").display()
        )));
    }
    let directory = path.parent().unwrap_or(Path::new("/"));
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)
        .map_err(|error| refused(&path, &error))?;
    create_private(&path)
        // The write-ahead log lives beside the file, so the directory must be writable too.
        .and_then(|()| access(directory, Access::WRITE_OK | Access::EXEC_OK))
        .and_then(|()| access(&path, Access::READ_OK | Access::WRITE_OK))
        .map_err(|errno| refused(&path, &errno.into()))?;
    Ok(path)
}

/// Creates an empty file with mode 0600 without ever opening it; `mknod` does it in one step.
fn create_private(path: &Path) -> Result<(), Errno> {
    match mknodat(CWD, path, FileType::RegularFile, Mode::RUSR | Mode::WUSR, 0) {
        Err(Errno::EXIST) => Ok(()),
        other => other,
    }
}

fn refused(path: &Path, error: &io::Error) -> Error {
    let place = path.display().to_string();
    match error.kind() {
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            Error::ReadOnly { place, reason: error.to_string(), remedy: WRITABLE }
        }
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Error::Full { place },
        _ => Error::unavailable(format!("cannot create {}: {error}", path.display())),
    }
}
