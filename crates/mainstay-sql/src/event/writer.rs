//! One writer: verbs that arrive while a transaction runs are done together in the next. A commit waits for the disk;
//! many verbs share that wait (group commit, as in Gray and Reuter, "Transaction Processing", 1992, section 9.4).

use std::collections::BTreeSet;
use std::sync::Arc;

use mainstay_core::event::store::{Delivery, Opening, Published, Receipt, Standing, Start, Verdict};
use mainstay_core::event::{Envelope, EventId, Queue};
use mainstay_core::store::StoreError;
use tokio::sync::{mpsc, oneshot};

use super::verbs::{Ground, Refusal};
use super::{Inner, refused};
use crate::Error;

/// Most verbs in one transaction: others of the service wait for it.
const MAX_BATCH: usize = 64;

/// A verb, with everything it needs: whoever asked may be gone.
#[derive(Debug)]
pub(super) enum Verb {
    Publish(Vec<Arc<Envelope>>),
    Open(Queue, Opening),
    Take { queue: Queue, credits: usize, visibility: i64 },
    Settle(Queue, Receipt, Verdict),
    Extend { queue: Queue, receipt: Receipt, visibility: i64 },
    Retire(Queue),
    Redrive(Queue, EventId),
    Rewind(Queue, Start),
    Tidy,
}

/// What a verb answers.
#[derive(Debug)]
pub(super) enum Done {
    Published(Published),
    Taken(Vec<Delivery>),
    Stood(Standing),
    Retired(usize),
    Redriven(bool),
    Tidied { more: bool },
    Nothing,
}

/// A verb, and who waits for it.
pub(super) struct Job {
    pub(super) verb: Verb,
    pub(super) answer: oneshot::Sender<Result<Done, StoreError>>,
}

/// Does what arrives until nobody can ask any more.
pub(super) async fn work(inner: Arc<Inner>, mut jobs: mpsc::Receiver<Job>) {
    let mut batch = Vec::new();
    while jobs.recv_many(&mut batch, MAX_BATCH).await > 0 {
        // Nobody waits for these any more, and they were not begun.
        batch.retain(|job: &Job| !job.answer.is_closed());
        let verbs: Vec<&Verb> = batch.iter().map(|job| &job.verb).collect();
        let answers = match together(&inner, &verbs).await {
            Some(answers) => answers,
            // One of them failed the transaction for all.
            None => one_by_one(&inner, &verbs).await,
        };
        for (job, answer) in batch.drain(..).zip(answers) {
            // Whoever asked may have gone.
            let _gone = job.answer.send(answer);
        }
    }
}

async fn one_by_one(inner: &Inner, verbs: &[&Verb]) -> Vec<Result<Done, StoreError>> {
    let mut answers = Vec::with_capacity(verbs.len());
    for verb in verbs {
        answers.push(alone(inner, verb).await);
    }
    answers
}

/// All in one transaction; `None` if a statement of one of them failed, so that nothing was done.
async fn together(inner: &Inner, verbs: &[&Verb]) -> Option<Vec<Result<Done, StoreError>>> {
    if verbs.len() < 2 {
        return None;
    }
    let mut filled = BTreeSet::new();
    let mut answers = Vec::with_capacity(verbs.len());
    let begun = inner.db.begin().await;
    let mut tx = match begun {
        Ok(tx) => tx,
        Err(error) => return Some(all(verbs, &before(&error))),
    };
    for verb in verbs {
        let now = inner.now();
        let mut ground = Ground { tx: &mut tx, options: &inner.options, now, filled: &mut filled };
        match perform(&mut ground, verb).await {
            Ok(done) => answers.push(Ok(done)),
            Err(Refusal::Sql(error)) => {
                tracing::debug!(%error, "a verb of the event store failed; the others are done without it");
                return None;
            }
            Err(refusal) => answers.push(Err(refused(verb_queue(verb), refusal))),
        }
    }
    match tx.commit().await {
        Ok(()) => {
            inner.wake(&filled);
            Some(answers)
        }
        Err(error) => Some(all(verbs, &at_commit(&error))),
    }
}

async fn alone(inner: &Inner, verb: &Verb) -> Result<Done, StoreError> {
    let mut filled = BTreeSet::new();
    let mut tx = inner.db.begin().await.map_err(|error| before(&error))?;
    let mut ground = Ground { tx: &mut tx, options: &inner.options, now: inner.now(), filled: &mut filled };
    let done = perform(&mut ground, verb).await.map_err(|refusal| refused(verb_queue(verb), refusal))?;
    tx.commit().await.map_err(|error| at_commit(&error))?;
    inner.wake(&filled);
    Ok(done)
}

async fn perform(ground: &mut Ground<'_>, verb: &Verb) -> Result<Done, Refusal> {
    ground.enter().await?;
    Ok(match verb {
        Verb::Publish(events) => Done::Published(ground.publish(events).await?),
        Verb::Open(queue, opening) => {
            ground.open(queue, *opening).await?;
            Done::Nothing
        }
        Verb::Take { queue, credits, visibility } => {
            Done::Taken(ground.take(queue, *credits, *visibility).await?)
        }
        Verb::Settle(queue, receipt, verdict) => Done::Stood(ground.settle(queue, *receipt, verdict).await?),
        Verb::Extend { queue, receipt, visibility } => {
            Done::Stood(ground.extend(queue, *receipt, *visibility).await?)
        }
        Verb::Retire(queue) => Done::Retired(ground.retire(queue).await?),
        Verb::Redrive(queue, id) => Done::Redriven(ground.redrive(queue, *id).await?),
        Verb::Rewind(queue, from) => {
            ground.rewind(queue, *from).await?;
            Done::Nothing
        }
        Verb::Tidy => Done::Tidied { more: ground.tidy().await? },
    })
}

fn verb_queue(verb: &Verb) -> Option<&Queue> {
    match verb {
        Verb::Open(queue, _)
        | Verb::Take { queue, .. }
        | Verb::Settle(queue, ..)
        | Verb::Extend { queue, .. }
        | Verb::Retire(queue)
        | Verb::Redrive(queue, _)
        | Verb::Rewind(queue, _) => Some(queue),
        Verb::Publish(_) | Verb::Tidy => None,
    }
}

fn all(verbs: &[&Verb], error: &StoreError) -> Vec<Result<Done, StoreError>> {
    verbs.iter().map(|_| Err(error.clone())).collect()
}

/// What failed before the commit has not happened.
pub(crate) fn before(error: &Error) -> StoreError {
    match error {
        Error::Query { .. } | Error::Decode { .. } | Error::Conflict { .. } => {
            StoreError::rejected(error.to_string())
        }
        _ => StoreError::unavailable(error.to_string()),
    }
}

/// A commit that was cut off may have happened, and one whose flush failed may be found in the log after a crash; one
/// that was refused has not.
fn at_commit(error: &Error) -> StoreError {
    match error {
        Error::Timeout { .. } | Error::Unavailable { .. } => StoreError::unknown(error.to_string()),
        _ => before(error),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_commit_that_the_disk_did_not_confirm_may_have_happened_and_one_that_was_refused_has_not() {
        for error in [Error::Timeout { after: Duration::ZERO }, Error::unavailable("disk I/O error")] {
            assert!(matches!(at_commit(&error), StoreError::Unknown { .. }), "{error}");
            assert!(matches!(before(&error), StoreError::Unavailable { .. }), "{error}");
        }
        for error in [Error::Full { place: "a.db".into() }, Error::Busy { reason: "locked".to_owned() }] {
            assert!(matches!(at_commit(&error), StoreError::Unavailable { .. }), "{error}");
        }
    }
}
