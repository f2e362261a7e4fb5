//! What is sent to a server.

use bytes::Bytes;

/// Whether a command may be sent again when it is not known whether it was carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// It changes nothing: sent again freely.
    Read,
    /// Carried out twice it does what it does once: sent again when the connection broke under it.
    Idem,
    /// Never sent again once its bytes may have left.
    Once,
}

/// Which connection carries a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Lane {
    /// One of the pool.
    #[default]
    Main,
    /// The one whose reads the server remembers, to say when they change.
    Tracked,
    /// One that a thread of its own drives: a runtime that is blocked does not stop it.
    Keeper,
}

/// A command: its words, and how it may be treated.
#[derive(Debug, Clone)]
pub struct Command {
    pub(crate) words: redis::Cmd,
    pub(crate) class: Class,
    pub(crate) lane: Lane,
    pub(crate) to: To,
    /// The text of the script that is named by its digest.
    pub(crate) source: Option<&'static str>,
}

/// Words that most commands have room for.
const WORDS: usize = 12;
/// Bytes of all words that most commands have room for.
const BYTES: usize = 384;

/// Which server a command is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum To {
    Any,
    Slot(u16),
    /// The one of the key that is this word. Its slot is reckoned where there are slots.
    Word(usize),
}

/// A word of a command.
pub trait Arg {
    /// Appends it.
    fn write(&self, words: &mut redis::Cmd);
}

impl Command {
    /// A command of one word.
    #[must_use]
    pub fn new(class: Class, name: &str) -> Self {
        Self::with_room(class, name, 0)
    }

    /// The same, with room for so many bytes besides a few short words: growing costs more than all else here.
    pub(crate) fn with_room(class: Class, name: &str, room: usize) -> Self {
        let mut words = redis::Cmd::with_capacity(WORDS, room.saturating_add(BYTES));
        words.arg(name);
        Self { words, class, lane: Lane::Main, to: To::Any, source: None }
    }

    /// Adds a key. The first decides which server it is sent to; all others must lie in the same slot.
    #[must_use]
    pub fn key(mut self, key: &str) -> Self {
        if self.to == To::Any {
            self.to = To::Word(self.words.args_iter().len());
        }
        self.words.arg(key);
        self
    }

    /// Sends a command without keys to the server that has this slot.
    #[must_use]
    pub fn in_slot(mut self, slot: u16) -> Self {
        self.to = To::Slot(slot);
        self
    }

    /// Adds a word.
    #[must_use]
    #[expect(clippy::needless_pass_by_value, reason = "a number or a reference, mostly")]
    pub fn arg(mut self, word: impl Arg) -> Self {
        word.write(&mut self.words);
        self
    }

    /// The first key, if that is what decides where it is sent to.
    pub(crate) fn first_key(&self) -> Option<&[u8]> {
        let To::Word(at) = self.to else { return None };
        match self.words.args_iter().nth(at) {
            Some(redis::Arg::Simple(key)) => Some(key),
            _ => None,
        }
    }

    /// The same script by its text, for a server that does not know its digest.
    pub(crate) fn spelled_out(&self) -> Option<redis::Cmd> {
        let mut words = redis::cmd("EVAL");
        words.arg(self.source?);
        for word in self.words.args_iter().skip(2) {
            if let redis::Arg::Simple(word) = word {
                words.arg(word);
            }
        }
        Some(words)
    }

    /// Sends it over another connection.
    #[must_use]
    pub const fn lane(mut self, lane: Lane) -> Self {
        self.lane = lane;
        self
    }
}

macro_rules! words {
    ($($kind:ty),*) => {$(
        impl Arg for $kind {
            fn write(&self, words: &mut redis::Cmd) {
                words.arg(self);
            }
        }
    )*};
}

words!(&str, String, &String, &[u8], Vec<u8>, u16, u32, u64, i64, usize);

impl Arg for &Bytes {
    fn write(&self, words: &mut redis::Cmd) {
        words.arg(&self[..]);
    }
}
