//! Lets publishers in until it is closed, and knows when the last one is out.

use std::sync::atomic::{AtomicUsize, Ordering};

/// The number of those inside, and one bit that says closed. Both are in one word, so nobody is let in who is not
/// counted by whoever closed.
#[derive(Debug, Default)]
pub(super) struct Gate(AtomicUsize);

const CLOSED: usize = 1 << (usize::BITS - 1);

impl Gate {
    /// `None` once closed. Whoever is inside is so until the pass is dropped.
    pub(super) fn enter(&self) -> Option<Pass<'_>> {
        let pass = Pass(self);
        (self.0.fetch_add(1, Ordering::AcqRel) & CLOSED == 0).then_some(pass)
    }

    pub(super) fn close(&self) {
        self.0.fetch_or(CLOSED, Ordering::AcqRel);
    }

    pub(super) fn is_closed(&self) -> bool {
        self.0.load(Ordering::Acquire) & CLOSED != 0
    }

    /// Nobody is inside, and nobody comes in any more.
    pub(super) fn is_sealed(&self) -> bool {
        self.0.load(Ordering::Acquire) == CLOSED
    }
}

#[derive(Debug)]
pub(super) struct Pass<'a>(&'a Gate);

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_closed_gate_is_sealed_when_the_last_one_is_out() {
        let gate = Gate::default();
        let inside = gate.enter().unwrap();
        gate.close();
        assert!(gate.enter().is_none());
        assert!(!gate.is_sealed());
        drop(inside);
        assert!(gate.is_sealed());
    }
}
