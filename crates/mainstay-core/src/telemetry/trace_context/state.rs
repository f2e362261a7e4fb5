use std::fmt;

const MAX_MEMBERS: usize = 32;
const MAX_LENGTH: usize = 512;
const LONG_MEMBER: usize = 128;

/// The `tracestate` header: what tracing vendors hand on, opaque to us.
///
/// At most 32 members and 512 bytes. A longer list loses whole members, first those over 128 bytes,
/// then those at the end (the oldest), as the standard advises.
///
/// ```
/// use mainstay_core::telemetry::trace_context::TraceState;
/// assert_eq!(TraceState::parse("rojo=00f067aa, congo=t61r").to_string(), "rojo=00f067aa,congo=t61r");
/// assert!(TraceState::parse("not a member").is_empty());
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TraceState(String);

impl TraceState {
    /// Reads the header (several headers joined with a comma). One invalid member, a key that comes
    /// twice or more than 32 members make the whole list empty: a vendor could misread a part of it.
    #[must_use]
    pub fn parse(tracestate: &str) -> Self {
        let members = tracestate.split(',').map(|member| member.trim_matches([' ', '\t']));
        let members: Vec<&str> = members.filter(|member| !member.is_empty()).take(MAX_MEMBERS + 1).collect();
        let keys: Option<Vec<&str>> = members.iter().map(|member| key(member)).collect();
        let Some(mut keys) = keys.filter(|keys| keys.len() <= MAX_MEMBERS) else { return Self::default() };
        keys.sort_unstable();
        if keys.windows(2).any(|pair| pair[0] == pair[1]) {
            return Self::default();
        }
        Self(shorten(members).join(","))
    }

    /// Whether there is nothing to pass on.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The value of the header.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TraceState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn shorten(mut members: Vec<&str>) -> Vec<&str> {
    let too_long =
        |members: &[&str]| members.iter().map(|member| member.len() + 1).sum::<usize>() > MAX_LENGTH + 1;
    while too_long(&members) {
        let last_long = members.iter().rposition(|member| member.len() > LONG_MEMBER);
        members.remove(last_long.unwrap_or(members.len() - 1));
    }
    members
}

/// The key of a valid member: `[a-z0-9][a-z0-9_\-*/@]{0,255}=` and 1 to 256 printable characters
/// without comma and equals sign, the last of them no space.
fn key(member: &str) -> Option<&str> {
    let (key, value) = member.split_once('=')?;
    let word = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit();
    let valid_key = key.bytes().next().is_some_and(word)
        && key.len() <= 256
        && key.bytes().all(|c| word(c) || matches!(c, b'_' | b'-' | b'*' | b'/' | b'@'));
    let valid_value = (1..=256).contains(&value.len())
        && value.bytes().all(|c| matches!(c, b' '..=b'~') && !matches!(c, b',' | b'='));
    (valid_key && valid_value).then_some(key)
}
