//! What the scripts are asked, and what they answer.

use std::time::Duration;

use mainstay_core::rate_limit::{Debit, Mode, Receipt, Rule, Verdict, Verdicts};
use smallvec::SmallVec;

use crate::{Answer, CallError, Command};

/// What is charged if all fits; 0 for a look.
pub(super) type Costs = SmallVec<[u32; 2]>;

/// Numbers in an answer for each debit.
const NUMBERS: usize = 5;

/// Adds the debits to a call of `decide.lua`.
pub(super) fn question(call: Command, debits: &[Debit<'_>], mode: Mode) -> Command {
    let call = call.arg(if mode == Mode::Take { "take" } else { "peek" });
    debits.iter().fold(call, |call, debit| {
        let (buckets, width) = shape(debit);
        call.arg(debit.policy.capacity()).arg(buckets).arg(width).arg(debit.cost)
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
    let answers = answer.into_list()?;
    let numbers = answers.iter().map(Answer::int).collect::<Result<SmallVec<[i64; NUMBERS]>, _>>()?;
    if numbers.len() != costs.len() * NUMBERS {
        return Err(CallError::unexpected("a verdict is missing"));
    }
    let each = || numbers.chunks_exact(NUMBERS);
    let admitted = each().all(|numbers| numbers[1] == 0);
    each().zip(costs).map(|(numbers, cost)| verdict(numbers, if admitted { *cost } else { 0 })).collect()
}

fn verdict(numbers: &[i64], charged: u32) -> Result<Verdict, CallError> {
    let &[left, wait, reset, mark, life] = numbers else { unreachable!("as many as in a chunk") };
    let unsigned = |number| u64::try_from(number).map_err(|_| CallError::unexpected("a negative number"));
    let time = |number| unsigned(number).map(Duration::from_micros);
    let receipt = Receipt { cost: charged, mark: unsigned(mark)?, life: unsigned(life)? };
    Ok(Verdict {
        fits: wait == 0,
        remaining: u32::try_from(left).map_err(|_| CallError::unexpected("more is left than there is"))?,
        retry_after: if wait > 0 { Some(time(wait)?) } else { None },
        reset_after: time(reset)?,
        receipt: (charged > 0).then_some(receipt),
    })
}
