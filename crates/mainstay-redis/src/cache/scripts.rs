//! The verbs, as the server knows them.

use crate::Script;

/// The scripts of the cache.
#[derive(Debug)]
pub(super) struct Scripts {
    pub(super) lookup: Script,
    pub(super) put: Script,
    pub(super) put_if_newer: Script,
    pub(super) fill: Script,
    pub(super) release: Script,
    pub(super) invalidate: Script,
    pub(super) invalidate_version: Script,
    pub(super) tag_open: Script,
    pub(super) tag_invalidate: Script,
}

impl Scripts {
    /// The scripts, each as `edit` gives its text back.
    pub(super) fn new(edit: impl Fn(&'static str) -> &'static str) -> Self {
        let script = |source| Script::new(edit(source));
        Self {
            lookup: script(include_str!("lookup.lua")),
            put: script(include_str!("put.lua")),
            put_if_newer: script(include_str!("put_if_newer.lua")),
            fill: script(include_str!("fill.lua")),
            release: script(include_str!("release.lua")),
            invalidate: script(include_str!("invalidate.lua")),
            invalidate_version: script(include_str!("invalidate_version.lua")),
            tag_open: script(include_str!("tag_open.lua")),
            tag_invalidate: script(include_str!("tag_invalidate.lua")),
        }
    }
}
