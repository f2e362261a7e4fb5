//! W3C Trace Context: which distributed trace a request belongs to.
//!
//! Follows <https://www.w3.org/TR/trace-context/>. Invalid headers are ignored, never an error: a
//! caller's mistake must not fail the request.

mod sampling;
mod state;

pub use sampling::Sampling;
pub use state::TraceState;

use std::fmt;
use std::future::Future;

/// The `traceparent` header and what goes with it.
///
/// ```
/// use mainstay_core::telemetry::trace_context::TraceContext;
/// let caller = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
/// let ours = TraceContext::parse(caller).unwrap_or_else(TraceContext::new_root).child();
/// assert!(ours.to_header().starts_with("00-4bf92f3577b34da6a3ce929d0e0e4736-"));
/// assert_ne!(ours.to_header(), caller);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceContext {
    trace_id: [u8; 16],
    span_id: [u8; 8],
    sampled: bool,
    state: TraceState,
}

tokio::task_local! {
    static CURRENT: TraceContext;
}

/// Length of the fields of version 00: `vv-32 digits-16 digits-ff`.
const LENGTH: usize = 55;

impl TraceContext {
    /// A new trace with random ids, not sampled.
    #[must_use]
    pub fn new_root() -> Self {
        Self { trace_id: non_zero(), span_id: non_zero(), sampled: false, state: TraceState::default() }
    }

    /// The caller's context, or `None` if the header is not valid.
    ///
    /// Version 00 is read strictly. Of a later version, whatever follows the known fields after a
    /// dash is ignored, as the standard asks.
    #[must_use]
    pub fn parse(traceparent: &str) -> Option<Self> {
        let header = traceparent.as_bytes();
        let (known, rest) = header.split_at_checked(LENGTH)?;
        let [version] = hex(&known[..2])?;
        let extended = rest.first() == Some(&b'-');
        let complete = rest.is_empty() || (version > 0 && extended);
        let dashes = [2, 35, 52].iter().all(|at| known[*at] == b'-');
        let trace_id: [u8; 16] = hex(&known[3..35])?;
        let span_id: [u8; 8] = hex(&known[36..52])?;
        let [flags] = hex(&known[53..])?;
        let valid = version != 0xff && complete && dashes && trace_id != [0; 16] && span_id != [0; 8];
        valid.then(|| Self { trace_id, span_id, sampled: flags & 1 == 1, state: TraceState::default() })
    }

    /// The same trace with a new span id: what this process passes on.
    #[must_use]
    pub fn child(&self) -> Self {
        Self { span_id: non_zero(), ..self.clone() }
    }

    /// `future` as a part of this trace, for calls that it makes to others: see [`TraceContext::current`].
    pub fn scope<F: Future>(self, future: F) -> impl Future<Output = F::Output> + use<F> {
        CURRENT.scope(self, future)
    }

    /// The trace that is worked for here: that of the innermost [`TraceContext::scope`] around, which requests and
    /// event handlers have. A task spawned there does not have it by itself.
    #[must_use]
    pub fn current() -> Option<Self> {
        CURRENT.try_with(Self::clone).ok()
    }

    /// With the vendors' part of the context.
    #[must_use]
    pub fn with_state(self, state: TraceState) -> Self {
        Self { state, ..self }
    }

    /// The vendors' part of the context; empty if there is none.
    #[must_use]
    pub fn state(&self) -> &TraceState {
        &self.state
    }

    /// With the decision whether the trace is recorded.
    #[must_use]
    pub fn with_sampled(self, sampled: bool) -> Self {
        Self { sampled, ..self }
    }

    /// Whether the caller may have recorded the trace.
    #[must_use]
    pub fn is_sampled(&self) -> bool {
        self.sampled
    }

    /// The trace in 32 hexadecimal digits.
    #[must_use]
    pub fn trace_id(&self) -> String {
        digits(&self.trace_id)
    }

    /// The span in 16 hexadecimal digits.
    #[must_use]
    pub fn span_id(&self) -> String {
        digits(&self.span_id)
    }

    /// The value of the `traceparent` header, in version 00.
    #[must_use]
    pub fn to_header(&self) -> String {
        self.to_string()
    }
}

impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{}-{}-{:02x}", self.trace_id(), self.span_id(), u8::from(self.sampled))
    }
}

fn digits(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |value: u8| char::from(DIGITS[usize::from(value)]);
    // Not by the formatter: two of these are made for every request.
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

/// Exactly `2 * N` lowercase digits; the standard forbids capitals.
fn hex<const N: usize>(digits: &[u8]) -> Option<[u8; N]> {
    let value = |digit: u8| match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    };
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = value(pair[0])? << 4 | value(pair[1])?;
    }
    Some(bytes)
}

/// Random, and not the all-zero id that means "invalid".
fn non_zero<const N: usize>() -> [u8; N] {
    loop {
        let bytes: [u8; N] = std::array::from_fn(|_| rand::random());
        if bytes != [0; N] {
            return bytes;
        }
    }
}
