//! Scripts: several commands as one step on the server.

use sha1_smol::Sha1;

use crate::command::{Class, Command};

/// A Lua script, named by its digest: the server keeps the text after it has seen it once.
#[derive(Debug)]
pub struct Script {
    source: &'static str,
    digest: String,
}

impl Script {
    /// A script of this text.
    #[must_use]
    pub fn new(source: &'static str) -> Self {
        Self { source, digest: Sha1::from(source).digest().to_string() }
    }

    /// A call with these keys, which lie in one slot. The text is sent only to a server that does not know it.
    #[must_use]
    pub fn call(&self, class: Class, keys: &[&str]) -> Command {
        self.call_with_room(class, keys, 0)
    }

    /// The same, with room for so many bytes besides a few short words.
    pub(crate) fn call_with_room(&self, class: Class, keys: &[&str], room: usize) -> Command {
        let call = Command::with_room(class, "EVALSHA", room).arg(&self.digest).arg(keys.len());
        let mut call = keys.iter().fold(call, |call, key| call.key(key));
        call.source = Some(self.source);
        call
    }
}
