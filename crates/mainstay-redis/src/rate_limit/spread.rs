//! Debits whose states lie in different slots of a Cluster: no script reaches them all.

use futures_util::future::join_all;
use mainstay_core::rate_limit::{Debit, Mode, Store, Verdict, Verdicts};
use mainstay_core::store::StoreError;
use smallvec::SmallVec;

use super::RedisLimits;
use crate::connection::slot;

/// The debits, by index, that lie in one slot.
pub(super) type Part = SmallVec<[usize; 2]>;

/// The debits by slot; `None` if they lie in one.
pub(super) fn by_slot(keys: &[String]) -> Option<Vec<Part>> {
    let mut parts: Vec<(u16, Part)> = Vec::new();
    for (index, key) in keys.iter().enumerate() {
        let slot = slot(key.as_bytes());
        match parts.iter_mut().find(|(other, _)| *other == slot) {
            Some((_, part)) => part.push(index),
            None => parts.push((slot, Part::from_slice(&[index]))),
        }
    }
    (parts.len() > 1).then(|| parts.into_iter().map(|(_, part)| part).collect())
}

impl RedisLimits {
    /// Looks at all, so that a call that will be refused charges nothing. Then takes all; if someone was faster, or
    /// a server cannot say, gives back what was taken.
    pub(super) async fn decide_apart(
        &self,
        debits: &[Debit<'_>],
        keys: SmallVec<[String; 1]>,
        parts: Vec<Part>,
        mode: Mode,
    ) -> Result<Verdicts, StoreError> {
        let looked = gather(debits.len(), &parts, self.ask(debits, &keys, &parts, Mode::Peek).await)?;
        if mode == Mode::Peek || !looked.admitted() {
            return Ok(looked);
        }
        let answers = self.ask(debits, &keys, &parts, Mode::Take).await;
        if answers.iter().all(|answer| answer.as_ref().is_ok_and(Verdicts::admitted)) {
            return gather(debits.len(), &parts, answers);
        }
        let receipts = parts.iter().zip(&answers).flat_map(|(part, answer)| {
            let verdicts = answer.iter().flat_map(|verdicts| verdicts.iter());
            part.iter().zip(verdicts).filter_map(|(index, verdict)| Some((*index, verdict.receipt?)))
        });
        // What cannot be given back counts as spent.
        join_all(receipts.map(|(index, receipt)| self.refund(debits[index], receipt))).await;
        let verdicts = gather(debits.len(), &parts, answers)?;
        Ok(verdicts.iter().map(|verdict| Verdict { receipt: None, ..*verdict }).collect())
    }

    /// Each part's own verdicts.
    async fn ask(
        &self,
        debits: &[Debit<'_>],
        keys: &[String],
        parts: &[Part],
        mode: Mode,
    ) -> Vec<Result<Verdicts, StoreError>> {
        let ask = |part: &Part| {
            let keys: SmallVec<[String; 1]> = part.iter().map(|index| keys[*index].clone()).collect();
            let debits: SmallVec<[Debit<'_>; 2]> = part.iter().map(|index| debits[*index]).collect();
            self.decide_together(&debits, &keys, mode)
        };
        join_all(parts.iter().map(ask)).await
    }
}

/// The verdicts of all parts in the order of the debits, or the failure of one. That an outcome is unknown weighs
/// most.
fn gather(
    debits: usize,
    parts: &[Part],
    answers: Vec<Result<Verdicts, StoreError>>,
) -> Result<Verdicts, StoreError> {
    let mut gathered = vec![None; debits];
    let mut failure = None;
    for (part, answer) in parts.iter().zip(answers) {
        match answer {
            Ok(verdicts) => part
                .iter()
                .zip(verdicts.iter())
                .for_each(|(index, verdict)| gathered[*index] = Some(*verdict)),
            Err(error @ StoreError::Unknown { .. }) => failure = Some(error),
            Err(error) => failure = failure.or(Some(error)),
        }
    }
    match failure {
        Some(error) => Err(error),
        None => Ok(gathered.into_iter().flatten().collect()),
    }
}
