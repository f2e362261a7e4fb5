//! Questions asked while one of their kind is under way go together in the next: a script that runs once for sixty
//! callers costs little more than for one, and who calls alone waits for nobody.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::future::Future;
use std::hash::Hash;
use std::mem;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mainstay_core::store::StoreError;
use mainstay_core::task::TaskGroup;
use tokio::runtime::Handle;
use tokio::sync::oneshot;

/// Most questions that go together. A script that holds up the server for long holds up everybody.
const MOST: usize = 128;
/// Most bytes that go together; a question that is larger goes alone.
const ROOM: usize = 256 * 1024;
/// Batches under way at a time: while the server works on one, the next is on its way to it.
const UNDER_WAY: usize = 2;

/// What goes together.
pub(super) trait Question: Send + 'static {
    /// Questions of different lanes never go together.
    type Lane: Clone + Eq + Hash + Send + Sync + 'static;
    type Answer: Send + 'static;

    /// Its bytes, about.
    fn size(&self) -> usize;
}

type Told<A> = Result<A, StoreError>;
type Waiting<Q> = (Q, oneshot::Sender<Told<<Q as Question>::Answer>>);
/// Asks all, and answers each, in their order.
type Ask<Q> = dyn Fn(
        <Q as Question>::Lane,
        Vec<Q>,
    ) -> Pin<Box<dyn Future<Output = Told<Vec<<Q as Question>::Answer>>> + Send>>
    + Send
    + Sync;

/// Batches of one verb.
pub(super) struct Batches<Q: Question>(Arc<Shared<Q>>);

struct Shared<Q: Question> {
    lanes: Mutex<HashMap<Q::Lane, Lane<Q>>>,
    ask: Box<Ask<Q>>,
    runtime: Handle,
    /// They end when nobody waits for an answer any more.
    tasks: TaskGroup,
}

struct Lane<Q: Question> {
    under_way: usize,
    waiting: VecDeque<Waiting<Q>>,
}

impl<Q: Question> Default for Lane<Q> {
    fn default() -> Self {
        Self { under_way: 0, waiting: VecDeque::new() }
    }
}

impl<Q: Question> Batches<Q> {
    /// `ask` answers each question, in their order.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub(super) fn new<F>(ask: impl Fn(Q::Lane, Vec<Q>) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Told<Vec<Q::Answer>>> + Send + 'static,
    {
        Self(Arc::new(Shared {
            lanes: Mutex::default(),
            ask: Box::new(move |lane, questions| Box::pin(ask(lane, questions))),
            runtime: Handle::current(),
            tasks: TaskGroup::new(),
        }))
    }

    /// The answer to one question. Dropped, it was asked, or is, or is not.
    pub(super) async fn ask(&self, lane: Q::Lane, question: Q) -> Told<Q::Answer> {
        let (question, turn) = match self.join(&lane, question) {
            Join::Now(question, turn) => (question, turn),
            Join::Later(answer) => {
                return answer.await.unwrap_or_else(|_| {
                    Err(StoreError::unknown("its batch was given up: the runtime is shutting down"))
                });
            }
        };
        let answers = (self.0.ask)(lane, vec![question]).await;
        drop(turn);
        answers?.pop().ok_or_else(missing)
    }

    fn join(&self, name: &Q::Lane, question: Q) -> Join<Q> {
        let mut lanes = self.0.lanes();
        let lane = lanes.entry(name.clone()).or_default();
        if lane.under_way < UNDER_WAY && lane.waiting.is_empty() {
            lane.under_way += 1;
            return Join::Now(question, Turn { shared: Arc::clone(&self.0), lane: name.clone() });
        }
        let (tell, answer) = oneshot::channel();
        lane.waiting.push_back((question, tell));
        Join::Later(answer)
    }
}

enum Join<Q: Question> {
    Now(Q, Turn<Q>),
    Later(oneshot::Receiver<Told<Q::Answer>>),
}

fn missing() -> StoreError {
    StoreError::unknown("a batch has fewer answers than questions")
}

impl<Q: Question> Shared<Q> {
    fn lanes(&self) -> MutexGuard<'_, HashMap<Q::Lane, Lane<Q>>> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends a turn, unless somebody waits: then its holder has to ask for them.
    fn end_turn(&self, name: &Q::Lane) -> Vec<Waiting<Q>> {
        let mut lanes = self.lanes();
        let lane = lanes.get_mut(name).expect("it is there as long as somebody has a turn");
        let batch = lane.next();
        if batch.is_empty() {
            lane.under_way -= 1;
            if lane.under_way == 0 {
                lanes.remove(name);
            }
        }
        batch
    }
}

impl<Q: Question> Lane<Q> {
    /// What goes together next: at least one question, if there is any that somebody still asks.
    fn next(&mut self) -> Vec<Waiting<Q>> {
        let (mut batch, mut room) = (Vec::new(), ROOM);
        while batch.len() < MOST && room > 0 {
            let Some((question, tell)) = self.waiting.pop_front() else { break };
            if tell.is_closed() {
                continue;
            }
            room = room.saturating_sub(question.size());
            batch.push((question, tell));
        }
        batch
    }
}

/// A caller's right to ask. Dropped, it goes to a task that asks for those who came meanwhile.
struct Turn<Q: Question> {
    shared: Arc<Shared<Q>>,
    lane: Q::Lane,
}

impl<Q: Question> Drop for Turn<Q> {
    fn drop(&mut self) {
        let batch = self.shared.end_turn(&self.lane);
        if !batch.is_empty() {
            let (shared, lane) = (Arc::clone(&self.shared), self.lane.clone());
            let worker = Worker { shared, lane, batch, has_turn: true };
            let task = self.shared.tasks.track("event batches", worker.work());
            drop(self.shared.runtime.spawn(task));
        }
    }
}

/// Asks what waits, until nothing does.
struct Worker<Q: Question> {
    shared: Arc<Shared<Q>>,
    lane: Q::Lane,
    batch: Vec<Waiting<Q>>,
    has_turn: bool,
}

impl<Q: Question> Worker<Q> {
    async fn work(mut self) {
        while self.has_turn {
            let (questions, tell): (Vec<_>, Vec<_>) = mem::take(&mut self.batch).into_iter().unzip();
            let mut answers = (self.shared.ask)(self.lane.clone(), questions).await.map(Vec::into_iter);
            for tell in tell {
                let answer = match &mut answers {
                    Ok(answers) => answers.next().ok_or_else(missing),
                    Err(error) => Err(error.clone()),
                };
                let _who_asked_may_have_gone = tell.send(answer);
            }
            self.batch = self.shared.end_turn(&self.lane);
            self.has_turn = !self.batch.is_empty();
        }
    }
}

impl<Q: Question> Drop for Worker<Q> {
    /// Before its end: it panicked, or its runtime ends. Nobody may wait for what does not come.
    fn drop(&mut self) {
        while self.has_turn {
            self.has_turn = !self.shared.end_turn(&self.lane).is_empty();
        }
    }
}

impl<Q: Question> fmt::Debug for Batches<Q> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batches").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures_util::future::join_all;
    use tokio::time::{sleep, timeout};

    use super::*;

    /// A number, answered with its double; 666 panics, 404 is an error.
    struct Double(usize);

    impl Question for Double {
        type Lane = &'static str;
        type Answer = usize;

        fn size(&self) -> usize {
            self.0
        }
    }

    type Log = Arc<Mutex<Vec<Vec<usize>>>>;

    fn doubles() -> (Batches<Double>, Log) {
        let log = Log::default();
        let seen = Arc::clone(&log);
        let batches = Batches::new(move |_, questions: Vec<Double>| {
            let numbers: Vec<_> = questions.iter().map(|question| question.0).collect();
            seen.lock().unwrap().push(numbers.clone());
            async move {
                sleep(Duration::from_millis(1)).await;
                assert!(!numbers.contains(&666), "as asked");
                if numbers.contains(&404) {
                    return Err(StoreError::unavailable("as asked"));
                }
                Ok(numbers.into_iter().map(|number| 2 * number).collect())
            }
        });
        (batches, log)
    }

    #[tokio::test(start_paused = true)]
    async fn questions_asked_meanwhile_go_together_and_each_gets_its_answer() {
        let (batches, log) = doubles();
        let answers = join_all((0..300).map(|number| batches.ask("a", Double(number)))).await;
        assert_eq!(answers, (0..300).map(|number| Ok(2 * number)).collect::<Vec<_>>());
        let sizes: Vec<_> = log.lock().unwrap().iter().map(Vec::len).collect();
        assert_eq!(sizes, [1, 1, MOST, MOST, 300 - 2 - 2 * MOST]);
        assert!(batches.0.lanes().is_empty(), "nothing is kept of a lane that rests");
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_large_does_not_go_with_more_than_it_follows() {
        let (batches, log) = doubles();
        let large = [1, 2, 10, ROOM, 20, ROOM, ROOM];
        join_all(large.map(|number| batches.ask("a", Double(number)))).await;
        let log = log.lock().unwrap();
        assert_eq!(*log, [vec![1], vec![2], vec![10, ROOM], vec![20, ROOM], vec![ROOM]]);
    }

    #[tokio::test(start_paused = true)]
    async fn lanes_do_not_wait_for_each_other_and_an_error_is_that_of_its_batch() {
        let (batches, _) = doubles();
        let ask = |lane, number| batches.ask(lane, Double(number));
        let asked = join_all([ask("a", 1), ask("a", 2), ask("a", 404), ask("a", 3), ask("b", 4)]).await;
        let is_ok: Vec<_> = asked.iter().map(Result::is_ok).collect();
        assert_eq!(is_ok, [true, true, false, false, true]);
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_leaves_and_whatever_panics_nobody_waits_for_ever() {
        let (batches, log) = doubles();
        for round in 0..200_usize {
            let askers = (0..20_usize).map(|number| {
                let (batches, patience) =
                    (&batches, Duration::from_micros((round * number * 7 % 4_000) as u64));
                let number = if (round + number).is_multiple_of(61) { 666 } else { number };
                timeout(patience, async move {
                    let asked = std::panic::AssertUnwindSafe(batches.ask("a", Double(number)));
                    futures_util::FutureExt::catch_unwind(asked).await
                })
            });
            join_all(askers).await;
            let last = timeout(Duration::from_secs(1), batches.ask("a", Double(7))).await;
            assert!(last.is_ok(), "round {round}: it is answered");
        }
        while !batches.0.lanes().is_empty() {
            sleep(Duration::from_millis(1)).await;
        }
        assert!(log.lock().unwrap().iter().all(|batch| !batch.is_empty()));
    }

    #[test]
    fn when_the_runtime_ends_nobody_waits() {
        let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let first = runtime();
        let (batches, _) = first.block_on(async { doubles() });
        let ask = |number| Box::pin(batches.ask("a", Double(number)));
        let (mut one, mut two, mut three) = (ask(1), ask(2), ask(3));
        first.block_on(async {
            let _started = (futures_util::poll!(&mut one), futures_util::poll!(&mut two));
            let _started = futures_util::poll!(&mut three);
        });
        drop(first);
        drop((one, two));
        let answer = runtime().block_on(async { timeout(Duration::from_secs(5), three).await });
        assert!(answer.expect("an answer").is_err());
    }
}
