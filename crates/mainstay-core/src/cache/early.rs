//! When to load a value anew before it expires.

use std::time::Duration;

/// `exp(-40)` is never drawn: further away from the end there is nothing to decide.
const REACH: f64 = 40.0;

/// Whether this reader should refresh a value that took `cost` to load and stays fresh for `left`:
/// `-β · cost · ln(random) ≥ left`, with `random` from (0, 1].
///
/// Each reader decides for itself, the more likely the nearer the end is, so that on average one begins in
/// time ("XFetch": Vattani, Chierichetti and Lowenstein, "Optimal Probabilistic Cache Stampede
/// Prevention", VLDB 2015).
#[inline]
pub(super) fn is_due(cost: Duration, left: Duration, beta: f64, random: impl FnOnce() -> f64) -> bool {
    let scale = cost.as_secs_f64() * beta;
    let left = left.as_secs_f64();
    scale * REACH >= left && scale > 0.0 && -scale * random().ln() >= left
}

/// From (0, 1].
pub(super) fn random() -> f64 {
    1.0 - rand::random::<f64>()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn the_decision_follows_the_formula() {
        let drawn = (-2.0_f64).exp(); // -ln(drawn) = 2
        assert!(is_due(10 * MS, 19 * MS, 1.0, || drawn));
        assert!(!is_due(10 * MS, 21 * MS, 1.0, || drawn));
        assert!(is_due(10 * MS, 59 * MS, 3.0, || drawn));
    }

    #[test]
    fn what_cost_nothing_or_is_far_from_its_end_is_not_even_drawn_for() {
        let never = || unreachable!("no draw");
        assert!(!is_due(Duration::ZERO, Duration::ZERO, 1.0, never));
        assert!(!is_due(10 * MS, 401 * MS, 1.0, never));
        assert!(!is_due(10 * MS, MS, 0.0, never));
        assert!(!is_due(Duration::MAX, MS, 0.0, never));
    }
}
