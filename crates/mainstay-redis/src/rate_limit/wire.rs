//! What the scripts are asked, and what they answer.

use std::time::Duration;

use bytes::Buf;
use mainstay_core::rate_limit::{Debit, Mode, Receipt, Rule, Verdict, Verdicts};
use smallvec::SmallVec;

use crate::{Answer, CallError, Command};

/// What is charged if all fits; 0 for a look.
pub(super) type Costs = SmallVec<[u32; 2]>;

/// Bytes in an answer for each debit.
const VERDICT: usize = 4 + 4 * 8;

/// Adds the debits to a call of `decide.lua`.
pub(super) fn question(call: Command, debits: &[Debit<'_>], mode: Mode) -> Command {
    let call = call.arg(if mode == Mode::Take { "take" } else { "peek" });
    debits.iter().fold(call, |call, debit| {
        let (buckets, width) = shape(debit);
        let mut packed = SmallVec::<[u8; 20]>::new();
        packed.extend(debit.policy.capacity().to_le_bytes());
        packed.extend(buckets.to_le_bytes());
        packed.extend(width.to_le_bytes());
        packed.extend(debit.cost.to_le_bytes());
        call.arg(&packed[..])
    })
}

/// Adds the receipt to a call of `refund.lua`.
pub(super) fn refund(call: Command, debit: &Debit<'_>, receipt: Receipt) -> Command {
    let (buckets, width) = shape(debit);
    call.arg(buckets).arg(width).arg(receipt.cost).arg(receipt.mark).arg(receipt.life)
}

/// Number of buckets and their width; no buckets are GCRA, and then the time that earns one.
fn shape(debit: &Debit<'_>) -> (u32, u64) {
    match debit.policy.rule() {
        Rule::Window(rule) => (rule.buckets(), rule.width()),
        Rule::Gcra(rule) => (0, rule.interval()),
    }
}

/// Reads the answer of `decide.lua`.
pub(super) fn verdicts(answer: Answer, costs: &[u32]) -> Result<Verdicts, CallError> {
    let answer = answer.into_bytes()?;
    if answer.len() != costs.len() * VERDICT {
        return Err(CallError::unexpected("a verdict is missing"));
    }
    let mut rest = &answer[..];
    let numbers: SmallVec<[Numbers; 1]> = costs.iter().map(|_| Numbers::read(&mut rest)).collect();
    let admitted = numbers.iter().all(|numbers| numbers.wait == 0);
    numbers
        .iter()
        .zip(costs)
        .map(|(numbers, cost)| numbers.verdict(if admitted { *cost } else { 0 }))
        .collect()
}

/// What is answered for one debit.
struct Numbers {
    left: u32,
    wait: i64,
    reset: u64,
    mark: u64,
    life: u64,
}

impl Numbers {
    /// `from` has them.
    fn read(from: &mut &[u8]) -> Self {
        Self {
            left: from.get_u32_le(),
            wait: from.get_i64_le(),
            reset: from.get_u64_le(),
            mark: from.get_u64_le(),
            life: from.get_u64_le(),
        }
    }

    fn verdict(&self, charged: u32) -> Result<Verdict, CallError> {
        let wait = match self.wait {
            -1 => None,
            wait => Some(u64::try_from(wait).map_err(|_| CallError::unexpected("a negative time"))?),
        };
        let receipt = Receipt { cost: charged, mark: self.mark, life: self.life };
        Ok(Verdict {
            fits: wait == Some(0),
            remaining: self.left,
            retry_after: wait.filter(|wait| *wait > 0).map(Duration::from_micros),
            reset_after: Duration::from_micros(self.reset),
            receipt: (charged > 0).then_some(receipt),
        })
    }
}
