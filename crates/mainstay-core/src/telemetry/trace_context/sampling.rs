use super::TraceContext;

/// Which of the traces that begin here are recorded. A trace that goes on keeps its caller's decision.
///
/// Judged by the trace id alone, as OpenTelemetry's `TraceIdRatioBased` sampler does it: services
/// with the same share choose the same traces, and a larger share contains a smaller one.
///
/// ```
/// use mainstay_core::telemetry::trace_context::{Sampling, TraceContext};
/// assert!(TraceContext::new_root().sample(Sampling::share(1.0)).is_sampled());
/// assert!(!TraceContext::new_root().sample(Sampling::NONE).is_sampled());
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sampling {
    /// Traces whose 63 lowest bits are below this.
    below: u64,
}

const RANGE: u64 = 1 << 63;

impl Sampling {
    /// No trace.
    pub const NONE: Self = Self { below: 0 };

    /// This share of the traces, from 0 to 1; what is outside counts as the nearer end, NaN as 0.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 0 to 2^63")]
    #[expect(clippy::cast_precision_loss, reason = "a power of two is exact")]
    pub fn share(share: f64) -> Self {
        Self { below: (share.clamp(0.0, 1.0) * RANGE as f64) as u64 }
    }
}

impl TraceContext {
    /// With the decision whether the trace is recorded, for one that begins here.
    #[must_use]
    pub fn sample(self, sampling: Sampling) -> Self {
        let [.., a, b, c, d, e, f, g, h] = self.trace_id;
        let random = u64::from_be_bytes([a, b, c, d, e, f, g, h]) % RANGE;
        self.with_sampled(random < sampling.below)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_is_recorded_when_the_low_bits_of_its_id_fall_into_the_share() {
        let recorded = |low: u64, share: f64| {
            let header = format!("00-0000000000000001{low:016x}-00f067aa0ba902b7-00");
            let trace = TraceContext::parse(&header).unwrap();
            trace.sample(Sampling::share(share)).is_sampled()
        };
        for low in [0, 1, RANGE / 4, RANGE - 1, RANGE, u64::MAX] {
            assert!(recorded(low, 1.0) && recorded(low, 7.0), "{low:x}");
            assert!(!recorded(low, 0.0) && !recorded(low, -1.0) && !recorded(low, f64::NAN), "{low:x}");
        }
        assert!(recorded(RANGE / 4 - 1, 0.25) && !recorded(RANGE / 4, 0.25));
    }
}
