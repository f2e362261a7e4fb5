//! What is wrong with a configuration, all of it at once.

use std::collections::BTreeSet;
use std::fmt;

/// Longest part of a refused value that is repeated to the person who typed it, in characters.
const SHOWN: usize = 80;
/// Longest name or message: room for a path, two values and what was expected.
const LINE: usize = 400;

/// One thing to correct.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Problem {
    /// What was typed and where: `PORT`, `mainstay.toml:3 server.port`, `--set server.port`, or the
    /// path of a run-time update.
    pub name: String,
    /// The refused value, shortened; `None` for a secret and where no value is involved.
    pub value: Option<String>,
    /// What was expected instead.
    pub message: String,
}

impl Problem {
    /// What only the service could know of a setting: its name, and what is expected of its value.
    pub fn new(name: &str, message: &str) -> Self {
        Self { name: one_line(name, LINE), value: None, message: one_line(message, LINE) }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        if let Some(value) = &self.value {
            // Quoted and escaped: a value must not forge lines of a log.
            write!(f, "={value:?}")?;
        }
        write!(f, ": {}", self.message)
    }
}

/// Everything that is wrong with a configuration; never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problems(Vec<Problem>);

impl Problems {
    /// What was found, as an error.
    ///
    /// # Errors
    /// All of them, if there are any.
    pub fn found(problems: Vec<Problem>) -> Result<(), Self> {
        if problems.is_empty() { Ok(()) } else { Err(Self(problems)) }
    }

    /// The problems, in the order in which they were found.
    pub fn iter(&self) -> impl Iterator<Item = &Problem> {
        self.0.iter()
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.0.len();
        write!(f, "the configuration has {count} problem{}", if count == 1 { "" } else { "s" })?;
        self.0.iter().try_for_each(|problem| write!(f, "\n  - {problem}"))
    }
}

impl std::error::Error for Problems {}

impl From<Problem> for Problems {
    fn from(problem: Problem) -> Self {
        Self(vec![problem])
    }
}

/// Collects problems while the configuration is read.
#[derive(Default)]
pub(super) struct Report {
    problems: Vec<Problem>,
    /// Paths without a usable value: rules that involve them would only add noise.
    broken: BTreeSet<String>,
}

impl Report {
    pub(super) fn add(&mut self, name: impl Into<String>, value: Option<String>, message: impl Into<String>) {
        let (name, message) = (one_line(&name.into(), LINE), one_line(&message.into(), LINE));
        let value = value.map(|text| shortened(&text, SHOWN));
        self.problems.push(Problem { name, value, message });
    }

    pub(super) fn mark_broken(&mut self, path: &str) {
        self.broken.insert(path.to_owned());
    }

    pub(super) fn is_broken(&self, path: &str) -> bool {
        self.broken.contains(path)
    }

    pub(super) fn into_result(self) -> Result<(), Problems> {
        Problems::found(self.problems)
    }
}

/// Why a run-time update was refused. Nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No setting has this path.
    #[error("unknown setting {path}{}", did_you_mean(suggestion.as_deref()))]
    Unknown {
        /// The path as given, shortened and without control characters.
        path: String,
        /// The path that was probably meant.
        suggestion: Option<String>,
    },
    /// The settings exist, but a running process cannot change them.
    #[error("{} cannot change while the process runs; set it in the environment or a file and restart", paths.join(", "))]
    NeedsRestart {
        /// Paths of the settings.
        paths: Vec<String>,
    },
    /// A value does not fit, or the configuration as a whole would not be valid.
    #[error(transparent)]
    Invalid(#[from] Problems),
}

/// `text` without control characters, which could forge lines of a log, and without an endless tail.
pub(super) fn one_line(text: &str, limit: usize) -> String {
    let escape = |c: char| if c.is_control() { c.escape_default().to_string() } else { c.to_string() };
    shortened(&text.chars().map(escape).collect::<String>(), limit)
}

fn shortened(text: &str, limit: usize) -> String {
    text.char_indices().nth(limit).map_or_else(|| text.to_owned(), |(end, _)| format!("{}…", &text[..end]))
}

/// The end of a message about something unknown.
pub(super) fn did_you_mean(suggestion: Option<&str>) -> String {
    suggestion.map_or_else(String::new, |name| format!("; did you mean {name}?"))
}
