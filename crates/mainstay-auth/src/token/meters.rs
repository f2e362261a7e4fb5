//! What tokens count.

use std::sync::Arc;

use mainstay_core::metrics::{Counter, Metrics, Unit};

use super::{Claims, Error, Reason};

const CHECKED: &str = "auth_tokens_checked_total";

/// The counters of a verifier: one for each verdict, held.
#[derive(Debug, Clone)]
pub(super) struct Meters(Arc<Verdicts>);

#[derive(Debug)]
struct Verdicts {
    ok: Counter,
    unavailable: Counter,
    refused: [Counter; Reason::ALL.len()],
}

impl Meters {
    pub(super) fn new(metrics: &Metrics) -> Self {
        metrics.describe_counter(CHECKED, Unit::None, "Tokens judged, by verdict.");
        let result = |result| metrics.counter(CHECKED).with(&[("result", result)]);
        let refused = Reason::ALL.map(|reason| result(reason.as_str()));
        Self(Arc::new(Verdicts { ok: result("ok"), unavailable: result("unavailable"), refused }))
    }

    pub(super) fn checked(&self, verdict: &Result<Claims, Error>) {
        match verdict {
            Ok(_) => self.0.ok.increment(1),
            Err(Error::Invalid { reason }) => {
                self.0.refused[*reason as usize].increment(1);
                tracing::debug!(reason = reason.as_str(), "refused a token");
            }
            Err(_) => self.0.unavailable.increment(1),
        }
    }
}
