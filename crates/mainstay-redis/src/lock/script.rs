//! The verbs, one script each.

use crate::Script;

macro_rules! verb {
    ($file:literal) => {
        concat!(include_str!("shared.lua"), include_str!($file))
    };
}

/// The texts of the scripts, so that a test can show that it notices when one is wrong.
#[doc(hidden)]
#[derive(Debug, Clone, Copy)]
pub struct Sources {
    pub acquire: &'static str,
    pub renew: &'static str,
    pub release: &'static str,
    pub holders: &'static str,
}

impl Default for Sources {
    fn default() -> Self {
        Self {
            acquire: verb!("acquire.lua"),
            renew: verb!("renew.lua"),
            release: verb!("release.lua"),
            holders: verb!("holders.lua"),
        }
    }
}

#[derive(Debug)]
pub(super) struct Scripts {
    pub(super) acquire: Script,
    pub(super) renew: Script,
    pub(super) release: Script,
    pub(super) holders: Script,
}

impl Scripts {
    pub(super) fn new(sources: Sources) -> Self {
        Self {
            acquire: Script::new(sources.acquire),
            renew: Script::new(sources.renew),
            release: Script::new(sources.release),
            holders: Script::new(sources.holders),
        }
    }
}
