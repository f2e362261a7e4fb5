//! One connection to one server, made anew whenever it is lost.

use std::ops::DerefMut;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use redis::aio::MultiplexedConnection;
use redis::{PushInfo, PushKind, Value};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_util::task::AbortOnDropHandle;

use mainstay_core::backoff::Backoff;
use mainstay_core::deadline::Deadline;
use mainstay_core::time::{Moment, micros as micros_of};

use super::context::{Context, Listeners};
use super::dial::{Dialled, answer, ask, dial, greet, login, must_be_primary};
use super::guard::{Guard, PROBE};
use super::places::Places;
use super::record::Record;
use super::refusal::Refusal;
use super::trip::BLIP;
use super::verdict::{Verdict, judge};
use super::witness::Beat;
use super::{ServerTime, Witness};
use crate::{Answer, CallError, Command};

/// Pause between two questions whether the server is there.
pub(crate) const BEAT: Duration = Duration::from_secs(1);
/// Longest wait for their answer.
pub(crate) const BEAT_TIMEOUT: Duration = Duration::from_secs(2);

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    Commands,
    /// The server says when what was read over it changes.
    Tracked,
    /// Renewals.
    Keeper,
}

/// See the module.
pub(crate) struct Link {
    purpose: Purpose,
    context: Arc<Context>,
    /// Of the server.
    record: Arc<Record>,
    guard: Arc<Guard>,
    live: ArcSwapOption<Live>,
    /// Whether this connection or the next one is live changes under this lock.
    turn: Mutex<()>,
    beat: Arc<Beat>,
    time: ArcSwapOption<ServerTime>,
    /// Microseconds to the last sign of life.
    round_trip: AtomicU64,
    /// Microseconds of the [`Moment`] when the connection was lost, or there was none yet.
    lost: AtomicU64,
}

/// A connection that commands can be sent over.
struct Live {
    connection: MultiplexedConnection,
    generation: u64,
    places: Places,
    lost: Notify,
}

impl Link {
    pub(crate) fn new(
        purpose: Purpose,
        context: &Arc<Context>,
        record: &Arc<Record>,
        guard: &Arc<Guard>,
    ) -> Arc<Self> {
        let link = Arc::new(Self {
            purpose,
            context: Arc::clone(context),
            record: Arc::clone(record),
            guard: Arc::clone(guard),
            live: ArcSwapOption::empty(),
            turn: Mutex::default(),
            beat: Arc::default(),
            time: ArcSwapOption::empty(),
            round_trip: AtomicU64::new(0),
            lost: AtomicU64::new(context.clock.now().as_micros()),
        });
        context.instruments.watch(&link);
        link
    }

    pub(crate) fn is_up(&self) -> bool {
        self.live.load().is_some()
    }

    /// See [`BLIP`].
    pub(crate) fn lost_lately(&self) -> bool {
        let lost = Moment::from_micros(self.lost.load(Ordering::Relaxed));
        self.context.clock.now().saturating_since(lost) < BLIP
    }

    /// There is one such link to each server.
    pub(crate) fn stands_for_server(&self) -> bool {
        self.purpose == Purpose::Tracked
    }

    pub(crate) fn guard(&self) -> &Guard {
        &self.guard
    }

    /// Which of its connections this is: counts up.
    pub(crate) fn generation(&self) -> u64 {
        self.beat.generation()
    }

    pub(crate) fn witness(&self) -> Option<Witness> {
        self.beat.witness()
    }

    pub(crate) fn server_time(&self) -> Option<ServerTime> {
        self.time.load().as_deref().copied()
    }

    pub(crate) fn in_flight(&self) -> usize {
        self.live.load().as_ref().map_or(0, |live| live.places.taken())
    }

    /// Of the last sign of life.
    pub(crate) fn round_trip(&self) -> Option<Duration> {
        Some(self.round_trip.load(Ordering::Relaxed)).filter(|micros| *micros > 0).map(Duration::from_micros)
    }

    /// Sends a command once, and waits for its answer for at most the deadline of commands, which began when it was
    /// `sent`.
    pub(crate) async fn call(&self, command: &Command, sent: Instant) -> Result<Answer, CallError> {
        let answer = self.carry(command, sent, false).await;
        self.context.instruments.count(command.class, &answer);
        answer
    }

    /// The same for a key that is on its way to this server.
    pub(crate) async fn call_asking(&self, command: &Command) -> Result<Answer, CallError> {
        let answer = self.carry(command, Instant::now(), true).await;
        self.context.instruments.count(command.class, &answer);
        answer
    }

    /// Sends commands in one write. Each is answered for itself, in their order; `NOSCRIPT` is an answer, too.
    pub(crate) async fn call_all(&self, commands: &[&Command]) -> Vec<Result<Answer, CallError>> {
        let answers = match self.carry_all(commands).await {
            Ok(answers) => answers,
            Err(error) => vec![Err(error); commands.len()],
        };
        for (command, answer) in commands.iter().zip(&answers) {
            self.context.instruments.count(command.class, answer);
        }
        answers
    }

    async fn carry(&self, command: &Command, sent: Instant, asking: bool) -> Result<Answer, CallError> {
        let live = self.live()?;
        let mut connection = live.connection.clone();
        let value = if asking {
            self.exchange(&live, 1, sent, Box::pin(send_asking(&mut connection, &command.words))).await?
        } else {
            self.exchange(&live, 1, sent, pin!(connection.send_packed_command(&command.words))).await?
        };
        match &value {
            Value::ServerError(error) if error.code() == "NOSCRIPT" => {
                Box::pin(self.carry_spelled_out(&live, command, asking, sent, value)).await
            }
            _ => self.judged(&live, value),
        }
    }

    /// Sends the text of a script that the server does not know.
    async fn carry_spelled_out(
        &self,
        live: &Live,
        command: &Command,
        asking: bool,
        sent: Instant,
        unknown: Value,
    ) -> Result<Answer, CallError> {
        let Some(words) = command.spelled_out() else { return self.judged(live, unknown) };
        let mut connection = live.connection.clone();
        let value = if asking {
            self.exchange(live, 1, sent, pin!(send_asking(&mut connection, &words))).await?
        } else {
            self.exchange(live, 1, sent, pin!(connection.send_packed_command(&words))).await?
        };
        self.judged(live, value)
    }

    async fn carry_all(&self, commands: &[&Command]) -> Result<Vec<Result<Answer, CallError>>, CallError> {
        let (live, sent) = (self.live()?, Instant::now());
        let mut all = redis::Pipeline::with_capacity(commands.len());
        for command in commands {
            all.add_command(command.words.clone());
        }
        let mut connection = live.connection.clone();
        let sending = pin!(connection.send_packed_commands(&all, 0, commands.len()));
        let values = self.exchange(&live, commands.len(), sent, sending).await?;
        let mut answers: Vec<_> = values.into_iter().map(|value| self.judged(&live, value)).collect();
        answers.resize_with(commands.len(), || Err(CallError::unknown("fewer answers than commands")));
        Ok(answers)
    }

    fn live(&self) -> Result<Arc<Live>, CallError> {
        if self.guard.is_open() {
            return Err(CallError::not_sent("the server does not answer"));
        }
        self.live.load_full().ok_or_else(|| CallError::not_sent("no connection"))
    }

    /// Waits for what answers so many commands, for at most their deadline, which began when they were `sent`: by a
    /// clock that does not count suspend, since reading the other one costs more and this decides nothing.
    ///
    /// Takes what sends them in its place: that is more than a kilobyte, and would be copied with each step.
    async fn exchange<T>(
        &self,
        live: &Live,
        commands: usize,
        sent: Instant,
        sending: Pin<impl DerefMut<Target = impl Future<Output = redis::RedisResult<T>>>>,
    ) -> Result<T, CallError> {
        let place = live.places.enter(commands, self.context.options.max_in_flight)?;
        let own = sent + self.context.options.command_timeout;
        let until = Deadline::current().map_or(own, |deadline| deadline.instant().min(own));
        let Ok(answer) = timeout_at(until, sending).await else {
            // A caller in a hurry says nothing of the server. Where the timer itself came late, it was this process
            // that did not run.
            if until == own && sent.elapsed() < self.context.options.command_timeout.mul_f64(1.5) {
                self.guard.missed();
            }
            return Err(CallError::unknown("no answer in time"));
        };
        place.settle();
        let answer = answer.map_err(|error| CallError::unknown(error.category().to_owned()))?;
        self.guard.answered();
        self.context.instruments.took(sent.elapsed());
        Ok(answer)
    }

    fn judged(&self, live: &Live, value: Value) -> Result<Answer, CallError> {
        match Answer::of(value) {
            Err(CallError::Rejected { code, message }) => match judge(&code, &message) {
                Verdict::Failed => Err(CallError::Rejected { code, message }),
                Verdict::Refused(reason) => Err(CallError::not_sent(reason)),
                Verdict::Lost(reason) => {
                    self.down(live.generation, reason);
                    Err(CallError::not_sent(reason))
                }
            },
            answer => answer,
        }
    }

    /// Asks something that no caller waits for.
    pub(crate) async fn inquire(&self, words: &redis::Cmd) -> Result<Answer, Refusal> {
        let Some(live) = self.live.load_full() else {
            return Err(Refusal::Unreachable("no connection".into()));
        };
        timeout(BEAT_TIMEOUT, ask(&mut live.connection.clone(), words))
            .await
            .map_err(|_| Refusal::Timeout(BEAT_TIMEOUT))?
    }

    /// Gives the connection up; a new one is made at once.
    pub(crate) fn renew(&self, reason: &str) {
        self.down(self.beat.generation(), reason);
    }

    /// The connection of this generation is of no more use. Whoever asks a witness knows before anybody else does.
    fn down(&self, generation: u64, reason: &str) {
        let turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        if self.beat.generation() != generation {
            return;
        }
        self.beat.next();
        let live = self.live.swap(None);
        if live.is_some() {
            self.lost.store(self.context.clock.now().as_micros(), Ordering::Relaxed);
        }
        drop(turn);
        let Some(live) = live else { return };
        if self.purpose == Purpose::Tracked {
            self.context.listeners.tell(None);
        }
        live.lost.notify_one();
        self.context.instruments.lost.increment(1);
        self.record.lost(self.purpose, reason);
        self.guard.link_down();
        // What ended this one may concern them all, such as a primary that was made a replica.
        self.guard.doubt();
        self.context.next_epoch();
    }

    /// From now on commands are sent over this connection, unless it was lost meanwhile.
    fn up(&self, live: &Arc<Live>) -> bool {
        let turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        if self.beat.generation() != live.generation {
            return false;
        }
        self.live.store(Some(Arc::clone(live)));
        drop(turn);
        self.context.instruments.connected.increment(1);
        self.record.found(&self.context.clock);
        self.guard.link_up();
        self.context.next_epoch();
        true
    }
}

/// Sends a command for a key that is on its way to this server.
async fn send_asking(
    connection: &mut MultiplexedConnection,
    words: &redis::Cmd,
) -> redis::RedisResult<Value> {
    let mut both = redis::Pipeline::with_capacity(2);
    both.cmd("ASKING").add_command(words.clone());
    let mut answers = connection.send_packed_commands(&both, 1, 1).await?;
    Ok(answers.pop().unwrap_or(Value::Nil))
}

/// Keeps the connection up for as long as it is polled.
pub(crate) async fn keep_up(link: Arc<Link>) {
    let backoff = Backoff::new(Duration::from_millis(20), Duration::from_millis(500));
    let mut failures = 0;
    loop {
        match link.attempt().await {
            Ok(()) => failures = 0,
            Err(refusal) => {
                link.context.instruments.refused.increment(1);
                link.record.refused(&refusal);
            }
        }
        sleep(backoff.delay(failures)).await;
        failures = failures.saturating_add(1);
    }
}

/// Ends a connection with the future that serves it, also where that is dropped.
struct End<'a>(&'a Link, u64);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.down(self.1, "closed");
    }
}

impl Link {
    /// Connects, and returns when the connection was lost.
    async fn attempt(self: &Arc<Self>) -> Result<(), Refusal> {
        let generation = {
            // Whatever an older connection still says concerns nobody.
            let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
            self.beat.next()
        };
        let _end = End(self, generation);
        let within = self.context.options.connect_timeout;
        let connected = timeout(within, self.connect(generation)).await;
        let (live, _driver) = connected.unwrap_or(Err(Refusal::Timeout(within)))?;
        if !self.up(&live) {
            return Err(Refusal::Unreachable("lost at once".into()));
        }
        let reason = self.serve(&live).await;
        self.down(generation, &reason);
        Ok(())
    }

    async fn connect(
        self: &Arc<Self>,
        generation: u64,
    ) -> Result<(Arc<Live>, AbortOnDropHandle<()>), Refusal> {
        let link = Arc::clone(self);
        let push = move |push: PushInfo| match push.kind {
            PushKind::Invalidate => tell(&link.context.listeners, push.data),
            PushKind::Disconnection => link.down(generation, "disconnected"),
            _ => {}
        };
        let options = &self.context.options;
        let Dialled { mut connection, driver } =
            dial(&self.record.address, &login(options), &self.context, push).await?;
        let hello = greet(&mut connection, &options.client_name).await?;
        self.record.greeted(hello);
        if self.purpose == Purpose::Tracked {
            ask(&mut connection, redis::cmd("CLIENT").arg("TRACKING").arg("ON")).await?;
        }
        let live = Live { connection, generation, places: Places::default(), lost: Notify::new() };
        self.sign_of_life(&live).await?;
        Ok((Arc::new(live), driver))
    }

    /// Asks for signs of life until there is none, and says why.
    async fn serve(&self, live: &Live) -> String {
        loop {
            let wait = async {
                if !self.guard.is_open() {
                    let _doubted = timeout(BEAT, self.guard.doubted()).await;
                }
                if self.guard.is_open() {
                    sleep(PROBE).await;
                }
            };
            tokio::select! {
                () = wait => {}
                () = live.lost.notified() => return "given up".into(),
            }
            tokio::select! {
                answer = timeout(BEAT_TIMEOUT, self.sign_of_life(live)) => match answer {
                    Ok(Ok(())) => {}
                    Ok(Err(refusal)) => return refusal.to_string(),
                    Err(_) => return "no sign of life".into(),
                },
                () = live.lost.notified() => return "given up".into(),
            }
        }
    }

    /// Asks for the time, and whether the server is still a primary: one that was made a replica goes on answering.
    /// While the guard is open, also for a script, which is held back where writes are.
    async fn sign_of_life(&self, live: &Live) -> Result<(), Refusal> {
        let (given_up, sent) = (live.places.given_up(), self.context.clock.now());
        let mut questions = redis::Pipeline::with_capacity(3);
        questions.cmd("TIME").cmd("HELLO").arg("3");
        if self.guard.is_open() {
            questions.cmd("EVAL").arg("return 1").arg(0);
        }
        let answers = live.connection.clone().send_packed_commands(&questions, 0, questions.len()).await?;
        let heard = self.context.clock.now();
        let took = heard.saturating_since(sent);
        let answers = answers.into_iter().map(answer).collect::<Result<Vec<_>, _>>()?;
        let [time, hello, ..] = &answers[..] else {
            return Err(Refusal::Unexpected("one answer to two questions".into()));
        };
        let micros = server_micros(time).map_err(|error| Refusal::Unexpected(error.to_string().into()))?;
        must_be_primary(hello)?;
        self.time.store(Some(Arc::new(ServerTime::measured(micros, sent, heard))));
        self.round_trip.store(micros_of(took).max(1), Ordering::Relaxed);
        live.places.answered(given_up);
        self.extend(live.generation, sent + BEAT + BEAT_TIMEOUT);
        if took <= self.context.options.command_timeout {
            self.guard.probed();
        }
        Ok(())
    }

    fn extend(&self, generation: u64, until: Moment) {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        if self.beat.generation() == generation {
            self.beat.extend(until);
        }
    }
}

fn server_micros(time: &Answer) -> Result<u64, CallError> {
    let [seconds, micros] = time.clone().into_array()?;
    Ok(seconds.uint()?.saturating_mul(1_000_000).saturating_add(micros.uint()?))
}

fn tell(listeners: &Listeners, data: Vec<Value>) {
    match data.into_iter().next().map(Answer::of) {
        Some(Ok(Answer::List(keys))) => {
            let keys: Vec<Bytes> = keys.into_iter().filter_map(|key| key.into_bytes().ok()).collect();
            listeners.tell(Some(&keys));
        }
        _ => listeners.tell(None),
    }
}
