use super::super::{Mode, Policy, State, Window};

/// State, mode, what clock readings the policy needs, and the generation: all that letting a call through
/// a closed breaker asks for, in one atomic. Written under the lock only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Word(u64);

/// Bits 0 and 1: the state. Closed is 0.
const STATE: u64 = 0b11;
const OPEN: u64 = 1;
const HALF_OPEN: u64 = 2;
/// Bits 2 and 3: the mode. The breaker decides if bit 3 is 0.
const MODE: u64 = 0b11 << 2;
const OBSERVE: u64 = 1 << 2;
const FORCED_OPEN: u64 = 2 << 2;
const DISABLED: u64 = 3 << 2;
const BY_HAND: u64 = 1 << 3;
/// It matters how long calls take.
const TIMED: u64 = 1 << 4;
/// The window is one of time.
const DATED: u64 = 1 << 5;
const GENERATION: u32 = 8;

impl Word {
    /// Closed, automatic, of the first generation.
    pub(super) fn new(policy: &Policy) -> Self {
        Self(1 << GENERATION).with_policy(policy)
    }

    pub(super) fn of(bits: u64) -> Self {
        Self(bits)
    }

    pub(super) fn bits(self) -> u64 {
        self.0
    }

    /// Closed, and nobody decides otherwise.
    #[inline]
    pub(super) fn lets_all_pass(self) -> bool {
        self.0 & (STATE | BY_HAND) == 0
    }

    /// An operator decides.
    pub(super) fn is_by_hand(self) -> bool {
        self.0 & BY_HAND != 0
    }

    #[inline]
    pub(super) fn is_timed(self) -> bool {
        self.0 & TIMED != 0
    }

    /// At the end of a call.
    #[inline]
    pub(super) fn needs_clock(self) -> bool {
        self.0 & (TIMED | DATED) != 0
    }

    #[inline]
    pub(super) fn generation(self) -> u64 {
        self.0 >> GENERATION
    }

    pub(super) fn state(self) -> State {
        match self.0 & STATE {
            OPEN => State::Open,
            HALF_OPEN => State::HalfOpen,
            _ => State::Closed,
        }
    }

    pub(super) fn mode(self) -> Mode {
        match self.0 & MODE {
            OBSERVE => Mode::Observe,
            FORCED_OPEN => Mode::ForcedOpen,
            DISABLED => Mode::Disabled,
            _ => Mode::Automatic,
        }
    }

    /// This state, in the next generation: what was let through before decides nothing any more.
    pub(super) fn next(self, state: State) -> Self {
        let bits = match state {
            State::Closed => 0,
            State::Open => OPEN,
            State::HalfOpen => HALF_OPEN,
        };
        Self((self.0 & !STATE | bits).wrapping_add(1 << GENERATION))
    }

    pub(super) fn with_mode(self, mode: Mode) -> Self {
        let bits = match mode {
            Mode::Automatic => 0,
            Mode::Observe => OBSERVE,
            Mode::ForcedOpen => FORCED_OPEN,
            Mode::Disabled => DISABLED,
        };
        Self(self.0 & !MODE | bits)
    }

    pub(super) fn with_policy(self, policy: &Policy) -> Self {
        let timed = policy.slow_call != std::time::Duration::MAX || policy.cancel_is_failure_after.is_some();
        let dated = matches!(policy.window, Window::Time(_));
        Self(self.0 & !(TIMED | DATED) | if timed { TIMED } else { 0 } | if dated { DATED } else { 0 })
    }
}
