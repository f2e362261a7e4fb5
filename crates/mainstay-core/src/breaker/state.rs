use std::fmt;

use serde::Serialize;

/// What a breaker does with calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Lets all pass and counts how they end.
    Closed,
    /// Turns all away until its time is over. That is seen when a call comes: without calls it stays open.
    Open,
    /// Lets a few probes pass, which decide whether it closes or opens again.
    HalfOpen,
}

impl State {
    /// `closed`, `open` or `half_open`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half_open",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Who decides: the breaker, or an operator in its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// The breaker does.
    #[default]
    Automatic,
    /// All calls pass. The breaker counts, changes its state and tells of it as if it decided: to try a policy.
    Observe,
    /// No call passes. The state is open.
    ForcedOpen,
    /// All calls pass and nothing is recorded. The state is closed.
    Disabled,
}

impl Mode {
    /// `automatic`, `observe`, `forced_open` or `disabled`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Automatic => "automatic",
            Self::Observe => "observe",
            Self::ForcedOpen => "forced_open",
            Self::Disabled => "disabled",
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
