//! Decisions while the store cannot make them.

use std::time::Duration;

use smallvec::SmallVec;

use super::decision::{Decision, Refusal};
use super::limiter::{Charge, Core};
use super::quota::{Outage, Quota, is_share};
use super::store::{Debit, Mode, Store, Verdict, Verdicts};

/// When to come back after a refusal that no limit is the reason of.
pub(super) const RETRY_AFTER: Duration = Duration::from_secs(1);

impl Core {
    /// The outage policies decide: if one denies, all is denied; those that allow pass; the rest is decided
    /// within this process in one step.
    #[cold]
    pub(super) fn without_store(
        &self,
        charges: &[Charge<'_>],
        debits: &[Debit<'_>],
        mode: Mode,
    ) -> SmallVec<[Decision; 1]> {
        let both = || charges.iter().zip(debits);
        let Some(verdicts) = self.local_verdicts(both(), mode) else {
            return debits.iter().map(|debit| self.turned_away(debit)).collect();
        };
        let admitted = verdicts.admitted();
        let mut verdicts = verdicts.iter();
        let verdict = |(charge, debit): (&Charge<'_>, &Debit<'_>)| match self.outage(&charge.quota) {
            Outage::Local { .. } => *verdicts.next().expect("a verdict for each debit"),
            Outage::Allow | Outage::Deny => uncounted(debit),
        };
        let verdicts: Verdicts = both().map(verdict).collect();
        debits
            .iter()
            .zip(&*verdicts)
            .map(|(debit, verdict)| self.decision(debit, verdict, admitted, true))
            .collect()
    }

    /// What this process says of the charges that it decides; `None` if one of all must be denied.
    fn local_verdicts<'a, 'k: 'a>(
        &self,
        charges: impl Iterator<Item = (&'a Charge<'k>, &'a Debit<'k>)>,
        mode: Mode,
    ) -> Option<Verdicts> {
        let mut local: SmallVec<[Debit<'_>; 2]> = SmallVec::new();
        for (charge, debit) in charges {
            match self.outage(&charge.quota) {
                Outage::Deny => return None,
                Outage::Allow => {}
                Outage::Local { .. } => local.push(self.local_debit(&charge.quota, debit)),
            }
        }
        // Fails only for want of room for so many policies.
        self.local.decide(&local, mode).now().ok()?.ok()
    }

    /// The debit under this process's part of the quota.
    pub(super) fn local_debit<'a>(&self, quota: &Quota, debit: &Debit<'a>) -> Debit<'a> {
        let Outage::Local { share } = self.outage(quota) else { return *debit };
        let instances = f64::from(self.options.instances.max(1));
        let share = share.filter(|share| is_share(*share)).unwrap_or(1.0 / instances);
        Debit { policy: quota.scaled(share).policy().unwrap_or(debit.policy), ..*debit }
    }

    fn outage(&self, quota: &Quota) -> Outage {
        quota.outage().unwrap_or(self.options.on_outage)
    }

    fn turned_away(&self, debit: &Debit<'_>) -> Decision {
        let nothing = Verdict { fits: false, remaining: 0, reset_after: RETRY_AFTER, ..uncounted(debit) };
        let decision = self.decision(debit, &nothing, false, true);
        Decision { retry_after: Some(RETRY_AFTER), refusal: Some(Refusal::Outage), ..decision }
    }
}

/// A limit nobody has used.
fn uncounted(debit: &Debit<'_>) -> Verdict {
    Verdict {
        fits: true,
        remaining: debit.policy.capacity(),
        retry_after: None,
        reset_after: Duration::ZERO,
        receipt: None,
    }
}
