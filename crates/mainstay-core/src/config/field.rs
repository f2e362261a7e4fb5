//! One row of a section's table: everything known about a setting except its value.

use std::time::Duration;

use serde_json::Value;

use super::duration::{MAX, format_millis, parse_duration};
use super::sections::Environment;

/// What a setting holds, and so how text is read.
///
/// Text is trimmed first, except a [`Kind::Secret`]; what is then empty counts as unset.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum Kind {
    /// `true`, `false`, and in text also `1`, `0`, `yes`, `no`, `on`, `off`.
    Bool,
    /// A whole number in a range, both ends included.
    Integer {
        /// Smallest value accepted.
        min: i64,
        /// Largest value accepted.
        max: i64,
    },
    /// A duration of at most 3650 days, see [`parse_duration`]. Kept as whole milliseconds.
    Duration {
        /// Shortest duration accepted.
        min: Duration,
    },
    /// Any text.
    Text,
    /// Text that is never printed.
    Secret,
    /// Texts; written as a list in files and separated by commas elsewhere.
    List,
    /// One of these words, in any case.
    Enum(&'static [&'static str]),
}

impl Kind {
    /// A TCP port to listen on; 0 means any free one.
    pub const PORT: Self = Self::Integer { min: 0, max: 65_535 };
    /// A duration that may be zero.
    pub const DURATION: Self = Self::Duration { min: Duration::ZERO };
    /// A duration that must not be zero, such as an interval.
    pub const PERIOD: Self = Self::Duration { min: Duration::from_millis(1) };

    /// What a person may write, for problems and the reference.
    pub(super) fn expected(&self) -> String {
        match self {
            Self::Bool => "true or false".to_owned(),
            Self::Integer { min, max: i64::MAX } => format!("a whole number of at least {min}"),
            Self::Integer { min, max } => format!("a whole number from {min} to {max}"),
            Self::Duration { min } if min.is_zero() => {
                "a duration such as 1500 (milliseconds), 250ms, 30s, 5m, 24h or 7d, up to 3650d".to_owned()
            }
            Self::Duration { min } => {
                let min = format_millis(u64::try_from(min.as_millis()).unwrap_or(u64::MAX));
                format!(
                    "a duration such as 1500 (milliseconds), 250ms, 30s, 5m, 24h or 7d, from {min} to 3650d"
                )
            }
            Self::Text => "text".to_owned(),
            Self::Secret => "text (a secret)".to_owned(),
            Self::List => "a list of texts".to_owned(),
            Self::Enum(words) => format!("one of {}", words.join(", ")),
        }
    }

    /// `raw` in the one form kept for this kind; `Ok(None)` if it is unset, `Err` if it does not fit.
    fn read(&self, raw: &Value) -> Result<Option<Value>, ()> {
        match (self, raw) {
            (_, Value::Null) => Ok(None),
            (Self::Secret, Value::String(text)) => Ok((!text.is_empty()).then(|| raw.clone())),
            (_, Value::String(text)) => match text.trim() {
                "" => Ok(None),
                text => self.read_text(text).map(Some).ok_or(()),
            },
            (Self::Bool, Value::Bool(_)) => Ok(Some(raw.clone())),
            (Self::Integer { .. } | Self::Duration { .. }, Value::Number(number)) => {
                self.read_text(&number.to_string()).map(Some).ok_or(())
            }
            (Self::List, Value::Array(items)) => {
                let texts: Option<Vec<&str>> = items.iter().map(Value::as_str).collect();
                Ok(Some(list(texts.ok_or(())?)))
            }
            _ => Err(()),
        }
    }

    fn read_text(&self, text: &str) -> Option<Value> {
        Some(match self {
            Self::Bool => match text.to_ascii_lowercase().as_str() {
                "true" | "1" | "yes" | "on" => true.into(),
                "false" | "0" | "no" | "off" => false.into(),
                _ => return None,
            },
            Self::Integer { min, max } => {
                let number: i64 = text.parse().ok()?;
                (*min..=*max).contains(&number).then_some(number)?.into()
            }
            Self::Duration { min } => {
                let duration = parse_duration(text)?;
                (*min..=MAX).contains(&duration).then_some(())?;
                u64::try_from(duration.as_millis()).ok()?.into()
            }
            Self::Text | Self::Secret => text.into(),
            Self::List => list(text.split(',')),
            Self::Enum(words) => (*words.iter().find(|word| word.eq_ignore_ascii_case(text))?).into(),
        })
    }
}

fn list<'a>(items: impl IntoIterator<Item = &'a str>) -> Value {
    items.into_iter().map(str::trim).filter(|item| !item.is_empty()).collect()
}

/// Where the value comes from when nobody sets one.
#[derive(Debug, Clone, Copy)]
enum Fallback {
    Unset,
    Text(&'static str),
    ByEnvironment { development: &'static str, production: &'static str },
    Computed(&'static str),
}

/// A rule on the text of a value that its kind cannot express.
#[derive(Debug, Clone, Copy)]
struct Check {
    expected: &'static str,
    accepts: fn(&str) -> bool,
}

/// One row of a section's table.
///
/// The table drives everything: reading variables and files, problems and suggestions, the refusal
/// of changes that need a restart, the dump with origins, and the reference.
///
/// ```
/// use mainstay_core::config::{Field, Kind};
///
/// const FIELDS: &[Field] = &[
///     Field::new("batch", Kind::Integer { min: 1, max: 1000 }, "Invoices sent at once")
///         .env(&["BILLING_BATCH"])
///         .default("50"),
///     Field::new("api_key", Kind::Secret, "Key of the payment provider").env(&["BILLING_API_KEY"]).restart_only(),
/// ];
/// ```
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Field {
    /// The key inside the section, as in files and paths.
    pub name: &'static str,
    /// The environment variable, then its aliases; the first that is set wins.
    pub env: &'static [&'static str],
    /// What it holds.
    pub kind: Kind,
    /// Whether a running process refuses to change it.
    pub restart: bool,
    /// One line for the reference, without a full stop.
    pub doc: &'static str,
    fallback: Fallback,
    check: Option<Check>,
}

impl Field {
    /// An optional setting without a variable, changeable at run time.
    #[must_use]
    pub const fn new(name: &'static str, kind: Kind, doc: &'static str) -> Self {
        Self { name, env: &[], kind, restart: false, doc, fallback: Fallback::Unset, check: None }
    }

    /// Names of the environment variable: the name, then aliases.
    #[must_use]
    pub const fn env(mut self, names: &'static [&'static str]) -> Self {
        self.env = names;
        self
    }

    /// The default, as one would write it in a variable; for a list `""` is the empty one.
    #[must_use]
    pub const fn default(mut self, text: &'static str) -> Self {
        self.fallback = Fallback::Text(text);
        self
    }

    /// A default for production, and another for development and test.
    #[must_use]
    pub const fn default_by_environment(
        mut self,
        development: &'static str,
        production: &'static str,
    ) -> Self {
        self.fallback = Fallback::ByEnvironment { development, production };
        self
    }

    /// Says how the default is found, for a value that is only known when the process starts. Give
    /// the value itself with [`Builder::default_value`](super::Builder::default_value).
    #[must_use]
    pub const fn computed(mut self, description: &'static str) -> Self {
        self.fallback = Fallback::Computed(description);
        self
    }

    /// Refuses changes while the process runs.
    #[must_use]
    pub const fn restart_only(mut self) -> Self {
        self.restart = true;
        self
    }

    /// A further rule on the text (on each item of a list). `expected` completes "expected …".
    #[must_use]
    pub const fn check(mut self, expected: &'static str, accepts: fn(&str) -> bool) -> Self {
        self.check = Some(Check { expected, accepts });
        self
    }

    /// What a person may write.
    pub(super) fn expected(&self) -> String {
        self.check.map_or_else(|| self.kind.expected(), |check| check.expected.to_owned())
    }

    /// `raw` in the form that is kept; `Ok(None)` if it counts as unset, `Err` if it does not fit.
    pub(super) fn read(&self, raw: &Value) -> Result<Option<Value>, ()> {
        let value = self.kind.read(raw)?;
        let accepts = |text: &Value| {
            text.as_str().is_none_or(|text| self.check.is_none_or(|check| (check.accepts)(text)))
        };
        let fits = match &value {
            Some(Value::Array(items)) => items.iter().all(accepts),
            Some(value) => accepts(value),
            None => true,
        };
        if fits { Ok(value) } else { Err(()) }
    }

    /// The default in `environment`; `Err` if the table's text does not fit the row's own kind.
    pub(super) fn default_value(&self, environment: Environment) -> Result<Option<Value>, ()> {
        let text = match self.fallback {
            Fallback::Text("") if matches!(self.kind, Kind::List) => return Ok(Some(list([]))),
            Fallback::Text(text) => text,
            Fallback::ByEnvironment { production, .. } if environment == Environment::Production => {
                production
            }
            Fallback::ByEnvironment { development, .. } => development,
            Fallback::Unset | Fallback::Computed(_) => return Ok(None),
        };
        self.read(&text.into())?.ok_or(()).map(Some)
    }

    /// The default in words, for the reference.
    pub(super) fn default_doc(&self) -> String {
        match self.fallback {
            Fallback::Unset => "unset".to_owned(),
            Fallback::Text("") => "none".to_owned(),
            Fallback::Text(text) => format!("`{text}`"),
            Fallback::ByEnvironment { development, production } => {
                format!("`{development}` in development, `{production}` in production")
            }
            Fallback::Computed(description) => description.to_owned(),
        }
    }

    pub(super) const fn is_secret(&self) -> bool {
        matches!(self.kind, Kind::Secret)
    }

    /// `value` as a person would write it; `None` for a secret.
    pub(super) fn show(&self, value: &Value) -> Option<String> {
        match (self.kind, value) {
            (Kind::Secret, _) => None,
            (Kind::Duration { .. }, value) => value.as_u64().map(format_millis),
            (_, Value::String(text)) => Some(text.clone()),
            (_, Value::Array(items)) => {
                Some(items.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(","))
            }
            (_, value) => Some(value.to_string()),
        }
    }
}
