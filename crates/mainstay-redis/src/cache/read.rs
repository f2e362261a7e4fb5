//! Reading: near first, then on the server.

use bytes::Bytes;
use tokio::time::Instant;

use mainstay_core::cache::{Claim, Found, Lookup, Tag};
use mainstay_core::key::Key;
use mainstay_core::store::StoreError;
use mainstay_core::time::Moment;

use crate::{Answer, CallError, Class, Command};

use super::near::Place;
use super::record::Record;
use super::{Shared, envelope, in_time, lease, millis};

/// How often a claim is repeated because what it met was no use, or broken.
const ATTEMPTS: usize = 8;

/// Microseconds that the numbers of a script can hold.
const MAX_MICROS: u64 = 1 << 53;

/// A question for a value.
struct Asked<'a> {
    key: Key<'a>,
    written: String,
    place: Option<Place<'a, Record>>,
}

impl Shared {
    /// What is kept near and still fresh.
    #[inline]
    pub(super) fn near(&self, key: Key<'_>, now: Moment) -> Option<Found> {
        let kept = self.values.get(key.name(), now)?;
        let record = &kept.thing;
        self.confirmed_near(record.tags(), now).then(|| record.found(now))
    }

    pub(super) async fn get(&self, key: Key<'_>) -> Result<Option<Found>, StoreError> {
        match self.read(key, self.deadline()).await? {
            Read::Hit(found) => Ok(Some(found)),
            Read::NoUse(_) | Read::Nothing => Ok(None),
        }
    }

    async fn read(&self, key: Key<'_>, until: Instant) -> Result<Read, StoreError> {
        let (asked, command) = self.ask(key);
        let Some(bytes) = bytes(self.redis.call(command).await)? else { return Ok(Read::Nothing) };
        let Some(record) = self.opened_now(&asked, &bytes)? else {
            return Ok(Read::NoUse(envelope::mark(&bytes)));
        };
        if !record.tags().is_empty() && !in_time(until, Box::pin(self.confirmed(record.tags()))).await? {
            return Ok(Read::NoUse(envelope::mark(&bytes)));
        }
        Ok(self.keep(asked.place, record).map_or(Read::Nothing, Read::Hit))
    }

    /// The values that are not near; `found` has room for all.
    pub(super) async fn get_many(
        &self,
        keys: &[Key<'_>],
        mut found: Vec<Option<Found>>,
    ) -> Result<Vec<Option<Found>>, StoreError> {
        let missing: Vec<usize> = (0..keys.len()).filter(|at| found[*at].is_none()).collect();
        let (asked, commands): (Vec<_>, Vec<_>) = missing.iter().map(|at| self.ask(keys[*at])).unzip();
        let mut records = Vec::with_capacity(missing.len());
        for (asked, answer) in asked.iter().zip(self.call_all(commands).await) {
            let record = bytes(answer)?.map(|bytes| self.opened_now(asked, &bytes)).transpose()?;
            records.push(record.flatten());
        }
        let tags = records.iter().flatten().flat_map(Record::tags).map(|tag| &tag.name);
        let epochs = self.epochs(tags).await?;
        for ((at, asked), record) in missing.into_iter().zip(asked).zip(records) {
            let record = record.filter(|record| epochs.confirm(record.tags()));
            found[at] = record.and_then(|record| self.keep(asked.place, record));
        }
        Ok(found)
    }

    fn ask<'a>(&'a self, key: Key<'a>) -> (Asked<'a>, Command) {
        let (written, now) = (self.names.value(key), self.clock.now());
        let (lane, witness) = self.way(&written, now);
        let place = witness.and_then(|witness| self.values.place(key.name(), witness, now));
        let command = Command::new(Class::Read, "GET").key(&written).lane(lane);
        (Asked { key, written, place }, command)
    }

    /// The value in bytes that came just now. By the latest that the server's calendar can show: rather gone early
    /// than late.
    fn opened_now(&self, asked: &Asked<'_>, bytes: &Bytes) -> Result<Option<Record>, StoreError> {
        let now = self.clock.now();
        let time = self.redis.server_time(&asked.written);
        let time = time.ok_or_else(|| StoreError::unavailable("the server's time is not known"))?;
        Ok(self.open(asked.key, bytes, time.latest(now), now))
    }

    /// Keeps a value near, and gives it if it is fresh.
    fn keep(&self, place: Option<Place<'_, Record>>, record: Record) -> Option<Found> {
        let now = self.clock.now();
        let found = record.fresh(now)?;
        if let Some(place) = place {
            let until = record.fresh_until().min(now + self.options.near_ttl);
            place.keep(record, until);
        }
        Some(found)
    }

    /// The value in bytes of the server; what is none is counted.
    fn open(&self, key: Key<'_>, bytes: &Bytes, server: u64, moment: Moment) -> Option<Record> {
        match envelope::open(bytes, key.name(), &self.options) {
            Ok((head, value)) => Some(Record::new(head, value, server, moment)),
            Err(rejected) => {
                self.meters.rejected(rejected);
                None
            }
        }
    }

    /// Reads first, which costs a server a fifth of what a claim does; whoever then has to load pays for a round trip
    /// more.
    pub(super) async fn lookup(&self, key: Key<'_>, claim: Claim<'_>) -> Result<Lookup, StoreError> {
        let until = self.deadline();
        let mut no_use = Vec::new();
        if claim.min_fresh.is_zero() {
            match self.read(key, until).await? {
                Read::Hit(found) => return Ok(Lookup::Hit(found)),
                Read::NoUse(mark) => no_use = mark,
                Read::Nothing => {}
            }
        }
        in_time(until, Box::pin(self.claim(key, claim, no_use))).await
    }

    async fn claim(&self, key: Key<'_>, claim: Claim<'_>, mut no_use: Vec<u8>) -> Result<Lookup, StoreError> {
        let epochs = self.opened(claim.tags.iter()).await?;
        let tag = |name: &std::sync::Arc<str>| Tag { name: name.clone(), epoch: epochs.of(name) };
        let tags: Vec<Tag> = claim.tags.iter().map(tag).collect();
        let taken = lease::taken(claim.token, &tags);
        let (written, lease) = (self.names.value(key), self.names.lease(key));
        let min_fresh = mainstay_core::time::micros(claim.min_fresh).min(MAX_MICROS);
        let mut broken = Bytes::new();
        for _ in 0..ATTEMPTS {
            let sent = self.clock.now();
            let (lane, witness) = self.way(&written, sent);
            let place = witness.and_then(|witness| self.values.place(key.name(), witness, sent));
            let command = self.scripts.lookup.call(Class::Idem, &[&written, &lease]).lane(lane);
            let command = command.arg(&taken[..]).arg(millis(claim.lease)).arg(min_fresh);
            let answer = self.redis.call(command.arg(&no_use[..]).arg(&broken)).await?;
            let Met { state, value, held } = Met::read(answer)?;
            let record = match &value {
                Some((bytes, server)) => match self.open(key, bytes, *server, sent) {
                    Some(record) if self.confirmed(record.tags()).await? => Some(record),
                    _ => None,
                },
                None => None,
            };
            match (state, record) {
                (State::Hit, Some(record)) => {
                    if let Some(found) = self.keep(place, record) {
                        return Ok(Lookup::Hit(found));
                    }
                    // Its time ended on the way.
                }
                (State::Hit, None) => {
                    no_use = value.map(|(bytes, _)| envelope::mark(&bytes)).unwrap_or_default();
                }
                (State::Lease, record) => {
                    let stale = record.and_then(|record| record.usable(self.clock.now()));
                    return Ok(Lookup::Lease { stale, tags });
                }
                (State::Busy, record) => {
                    let Some(held) = held else { return Err(CallError::unexpected("no lease").into()) };
                    match lease::read(held.0.clone()) {
                        Some((holder, tags)) if self.confirmed(&tags).await? => {
                            let stale = record.and_then(|record| record.usable(self.clock.now()));
                            return Ok(Lookup::Busy { stale, holder, retry_in: held.1 });
                        }
                        // One of its tags was invalidated.
                        _ => broken = held.0,
                    }
                }
            }
        }
        Err(StoreError::unavailable("the key changes faster than it can be read"))
    }
}

/// The bytes of an answer, if there are any.
fn bytes(answer: Result<Answer, CallError>) -> Result<Option<Bytes>, CallError> {
    match answer? {
        Answer::Nil => Ok(None),
        answer => answer.into_bytes().map(Some),
    }
}

/// What a question for a value came to.
enum Read {
    Hit(Found),
    /// A value that is none for this reader, by its mark.
    NoUse(Vec<u8>),
    Nothing,
}

enum State {
    Hit,
    Lease,
    Busy,
}

/// What a claim met.
struct Met {
    state: State,
    /// With the server's time.
    value: Option<(Bytes, u64)>,
    /// Another's lease, and when it runs out.
    held: Option<(Bytes, std::time::Duration)>,
}

impl Met {
    fn read(answer: Answer) -> Result<Self, CallError> {
        let mut parts = answer.into_list()?.into_iter();
        let mut next = || parts.next().unwrap_or(Answer::Nil);
        let state = match next().text()? {
            "hit" => State::Hit,
            "lease" => State::Lease,
            "busy" => State::Busy,
            _ => return Err(CallError::unexpected("no such state")),
        };
        let [seconds, micros] = next().into_array()?;
        let server = seconds.uint()?.saturating_mul(1_000_000).saturating_add(micros.uint()?);
        let value = match next() {
            Answer::Nil => None,
            value => Some((value.into_bytes()?, server)),
        };
        let held = match next() {
            Answer::Nil => None,
            lease => {
                // 0: in its last millisecond.
                let millis = next().int()?.max(1).unsigned_abs();
                Some((lease.into_bytes()?, std::time::Duration::from_millis(millis)))
            }
        };
        Ok(Self { state, value, held })
    }
}
