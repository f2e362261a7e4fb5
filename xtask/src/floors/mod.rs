//! The floor plan of ARCHITECTURE.md, enforced: imports point down only, between the crates of the
//! workspace and between the rooms of `mainstay-core`.

mod crates;
mod lexer;
mod rooms;

use std::path::{Path, PathBuf};

use crate::metadata;
use crate::step::{Failure, root};

/// Lists every import that points up.
pub(crate) fn check() -> Result<(), Failure> {
    let mut violations = crates::violations(&metadata::packages()?);
    let source = root().join("crates/mainstay-core/src");
    for file in rust_files(&source).map_err(|error| Failure::Failed(format!("{source:?}: {error}")))? {
        let text = std::fs::read_to_string(&file)
            .map_err(|error| Failure::Failed(format!("{}: {error}", file.display())))?;
        let inside = file.strip_prefix(&source).unwrap_or(&file);
        violations.extend(rooms::violations(inside, &text));
    }
    if violations.is_empty() {
        return Ok(());
    }
    Err(Failure::Failed(format!(
        "imports must point down (ARCHITECTURE.md, floors):\n  {}",
        violations.join("\n  ")
    )))
}

fn rust_files(dir: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() {
            files.extend(rust_files(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}
