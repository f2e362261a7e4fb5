//! When a command is sent again.
//!
//! A command that was not carried out, because nothing was sent or because the server said so, is sent again
//! whatever its [`Class`]. One whose outcome is unknown is sent again if it is [`Class::Read`] or [`Class::Idem`],
//! and never if it is [`Class::Once`]. Either happens at most [`Options::max_retries`] times, about
//! [`Options::retry_delay`] apart, and all attempts share one [`Options::command_timeout`]. And it happens only while
//! the connection was lost no longer than [`BLIP`] ago: while the server is gone, or silent, a command fails at once.
//!
//! A redirection of a Cluster (`MOVED`, `ASK`) is followed at once, up to [`MOST_HOPS`] times.

use std::future::Future;
use std::time::Duration;

use mainstay_core::deadline::Deadline;
use rand::RngExt;
use tokio::time::{Instant, timeout_at};

use crate::{Address, Answer, CallError, Class, Deployment, Options};

/// How long after the loss of a connection callers wait for the next one.
pub(crate) const BLIP: Duration = Duration::from_millis(250);
/// Redirections of one command.
const MOST_HOPS: u32 = 5;
/// Longest pause before a command on several keys is sent again that are on their way to another server.
const ON_THE_WAY: Duration = Duration::from_millis(20);

/// Longer than anybody waits, and short enough to be added to any moment.
const FOR_EVER: Duration = Duration::from_secs(365 * 86_400);

/// One command, over all its attempts.
pub(crate) struct Trip {
    class: Class,
    pause: Duration,
    until: Instant,
    retries: u32,
    /// Whether there is another server to send it to.
    cluster: bool,
    hops: u32,
    /// An earlier attempt may have been carried out.
    doubt: bool,
}

/// What to do after an attempt.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Give the caller this.
    Done(Result<Answer, CallError>),
    /// Send it again after a pause.
    Again(Duration),
    /// The slot is at another server: send it there.
    Moved(Redirection),
    /// The key may be at another server: send it there, this once.
    Ask(Redirection),
}

/// A slot, and the server that has it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Redirection {
    pub(crate) slot: u16,
    /// An empty host is that of the server that said so.
    pub(crate) to: Address,
}

impl Redirection {
    /// The server, named by one at `speaker`.
    pub(crate) fn server(&self, speaker: &Address) -> Address {
        let host = if self.to.host.is_empty() { &speaker.host } else { &self.to.host };
        Address::new(host, self.to.port)
    }

    fn read(text: &str) -> Option<Self> {
        let (slot, to) = text.split_once(' ')?;
        let (host, port) = to.rsplit_once(':')?;
        Some(Self { slot: slot.parse().ok()?, to: Address::new(host, port.parse().ok()?) })
    }
}

impl Trip {
    /// Its time ends with the caller's deadline, if that is earlier.
    pub(crate) fn begin(class: Class, options: &Options, begun: Instant) -> Self {
        let until = begun + options.command_timeout.min(FOR_EVER);
        Self {
            class,
            pause: options.retry_delay.min(FOR_EVER),
            until: Deadline::current().map_or(until, |deadline| deadline.instant().min(until)),
            retries: options.max_retries,
            cluster: matches!(options.deployment, Deployment::Cluster { .. }),
            hops: MOST_HOPS,
            doubt: false,
        }
    }

    /// Runs an attempt within what is left of the time.
    pub(crate) async fn attempt(
        &self,
        sending: impl Future<Output = Result<Answer, CallError>>,
    ) -> Result<Answer, CallError> {
        timeout_at(self.until, sending).await.unwrap_or_else(|_| Err(CallError::unknown("no answer in time")))
    }

    /// `lost_lately`: the connection was lost no longer than [`BLIP`] ago, whether or not it is back.
    pub(crate) fn next(&mut self, answer: Result<Answer, CallError>, lost_lately: bool) -> Next {
        let error = match answer {
            Ok(answer) => return Next::Done(Ok(answer)),
            Err(error) => error,
        };
        match &error {
            CallError::Rejected { code, message } => match &**code {
                "MOVED" | "ASK" if self.cluster => match Redirection::read(message) {
                    Some(to) if self.hops > 0 => {
                        self.hops -= 1;
                        if &**code == "ASK" { Next::Ask(to) } else { Next::Moved(to) }
                    }
                    Some(_) => {
                        Next::Done(self.end(CallError::not_sent("sent from server to server too often")))
                    }
                    None => Next::Done(self.end(error)),
                },
                "TRYAGAIN" => self.pause(ON_THE_WAY).unwrap_or_else(|| {
                    Next::Done(self.end(CallError::not_sent("the keys are on their way to another server")))
                }),
                _ => Next::Done(self.end(error)),
            },
            CallError::NotSent { .. } if lost_lately => self.retry(error),
            // It was lost just now, or the time is up.
            CallError::Unknown { .. } if self.class != Class::Once => {
                self.doubt = self.class == Class::Idem;
                self.retry(error)
            }
            CallError::NotSent { .. } | CallError::Unknown { .. } => Next::Done(self.end(error)),
        }
    }

    fn retry(&mut self, error: CallError) -> Next {
        match self.retries.checked_sub(1) {
            Some(left) => {
                self.retries = left;
                self.pause(self.pause).unwrap_or_else(|| Next::Done(self.end(error)))
            }
            None => Next::Done(self.end(error)),
        }
    }

    /// With jitter, so that those who failed together do not come back together. `None`: it would take too long.
    fn pause(&self, about: Duration) -> Option<Next> {
        let pause = about.mul_f64(rand::rng().random_range(0.5..=1.0));
        (Instant::now() + pause < self.until).then_some(Next::Again(pause))
    }

    /// What the last attempt came to does not tell of the earlier ones.
    pub(crate) fn end(&self, error: CallError) -> Result<Answer, CallError> {
        Err(if self.doubt { CallError::unknown(error.to_string()) } else { error })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trip(class: Class) -> Trip {
        let mut options = Options::new(Deployment::Cluster { seeds: vec![Address::new("h", 1)] });
        options.command_timeout = Duration::from_secs(60);
        Trip::begin(class, &options, Instant::now())
    }

    fn not_sent() -> Result<Answer, CallError> {
        Err(CallError::not_sent("test"))
    }

    fn unknown() -> Result<Answer, CallError> {
        Err(CallError::unknown("test"))
    }

    fn rejected(code: &str, message: &str) -> Result<Answer, CallError> {
        Err(CallError::rejected(code, message))
    }

    #[tokio::test]
    async fn what_was_not_sent_is_sent_again_whatever_its_class() {
        for class in [Class::Read, Class::Idem, Class::Once] {
            assert!(matches!(trip(class).next(not_sent(), true), Next::Again(_)));
            assert_eq!(trip(class).next(not_sent(), false), Next::Done(not_sent()));
        }
    }

    #[tokio::test]
    async fn what_may_have_been_carried_out_is_sent_again_unless_it_is_once() {
        for (class, again) in [(Class::Read, true), (Class::Idem, true), (Class::Once, false)] {
            assert_eq!(matches!(trip(class).next(unknown(), true), Next::Again(_)), again, "{class:?}");
        }
    }

    #[tokio::test]
    async fn an_unknown_outcome_stays_unknown_whatever_came_after_it() {
        for (class, after) in [(Class::Read, false), (Class::Idem, true)] {
            for last in [not_sent(), rejected("OOM", "full")] {
                let mut trip = trip(class);
                trip.next(unknown(), true);
                let Next::Done(Err(end)) = trip.next(last.clone(), false) else { panic!("it ends") };
                assert_eq!(matches!(end, CallError::Unknown { .. }), after, "{class:?} {last:?}");
            }
        }
    }

    #[tokio::test]
    async fn there_are_as_many_retries_as_the_options_say() {
        let mut trip = trip(Class::Idem);
        let again = (0..10).take_while(|_| matches!(trip.next(unknown(), true), Next::Again(_))).count();
        assert_eq!(again, 3);
    }

    #[tokio::test(start_paused = true)]
    async fn no_attempt_begins_or_goes_on_after_the_deadline_of_all() {
        let mut options = Options::new(Deployment::Standalone(Address::new("h", 1)));
        options.command_timeout = Duration::from_millis(120);
        let mut trip = Trip::begin(Class::Idem, &options, Instant::now());
        let begin = Instant::now();
        let first = trip.attempt(async { unknown() }).await;
        let Next::Again(pause) = trip.next(first, true) else { panic!("there is time left") };
        tokio::time::sleep(pause).await;
        let second = trip.attempt(std::future::pending()).await;
        assert!(matches!(second, Err(CallError::Unknown { .. })));
        assert_eq!(begin.elapsed(), options.command_timeout);
        assert!(matches!(trip.next(second, true), Next::Done(_)));
    }

    #[tokio::test]
    async fn no_setting_is_too_long() {
        let mut options = Options::new(Deployment::Standalone(Address::new("h", 1)));
        (options.command_timeout, options.retry_delay) = (Duration::MAX, Duration::MAX);
        let mut trip = Trip::begin(Class::Read, &options, Instant::now());
        assert!(matches!(trip.next(unknown(), true), Next::Again(_) | Next::Done(_)));
    }

    #[tokio::test]
    async fn redirections_are_followed_but_not_for_ever() {
        let mut trip = trip(Class::Once);
        let to = Redirection { slot: 3999, to: Address::new("::1", 6381) };
        assert_eq!(trip.next(rejected("MOVED", "3999 ::1:6381"), false), Next::Moved(to));
        let to = Redirection { slot: 1, to: Address::new("", 6381) };
        assert_eq!(trip.next(rejected("ASK", "1 :6381"), false), Next::Ask(to));
        for _ in 0..3 {
            assert!(matches!(trip.next(rejected("MOVED", "1 h:1"), false), Next::Moved(_)));
        }
        let end = trip.next(rejected("MOVED", "1 h:1"), false);
        assert!(matches!(end, Next::Done(Err(CallError::NotSent { .. }))));
        for bad in ["", "1", "x h:1", "1 h", "1 h:x", "70000 h:1"] {
            let end = trip.next(rejected("MOVED", bad), false);
            assert_eq!(end, Next::Done(rejected("MOVED", bad)));
        }
    }

    #[tokio::test]
    async fn keys_on_their_way_are_waited_for() {
        let mut waits = trip(Class::Once);
        assert!(matches!(waits.next(rejected("TRYAGAIN", ""), false), Next::Again(_)));
        waits.until = Instant::now();
        let end = waits.next(rejected("TRYAGAIN", ""), false);
        assert!(matches!(end, Next::Done(Err(CallError::NotSent { .. }))));
    }
}
