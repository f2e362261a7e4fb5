//! What the scripts answer.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use mainstay_core::event::store::{Dead, Delivery, QueueStats, Receipt, Standing};
use mainstay_core::event::{Envelope, Pattern, Queue};
use mainstay_core::store::StoreError;

use crate::{Answer, CallError};

/// Bits of a stream id: milliseconds and a count within one.
const MILLIS: u32 = 48;
const COUNT: u32 = 64;

/// A stream id as a number that sorts.
pub(super) fn number(id: &str) -> Result<u128, CallError> {
    let parsed = id.split_once('-').and_then(|(ms, count)| {
        let (ms, count): (u64, u64) = (ms.parse().ok()?, count.parse().ok()?);
        Some(u128::from(ms) << COUNT | u128::from(count))
    });
    parsed.ok_or_else(|| CallError::unexpected("no id of a stream"))
}

/// The stream id, and what stands for the delivery.
pub(super) fn written(receipt: Receipt) -> (String, String) {
    let life = receipt.position >> (MILLIS + COUNT);
    let ms = receipt.position >> COUNT & ((1 << MILLIS) - 1);
    let count = receipt.position & u128::from(u64::MAX);
    (format!("{ms}-{count}"), format!("{}:{life}", receipt.attempt))
}

pub(super) fn taken(answer: Answer) -> Result<(Vec<Delivery>, Option<Duration>), CallError> {
    let mut words = answer.into_list()?.into_iter();
    let again = words.next().ok_or_else(|| CallError::unexpected("an empty answer"))?.int()?;
    let mut deliveries = Vec::with_capacity(words.len() / 4);
    while let Some(id) = words.next() {
        let [Some(attempt), Some(life), Some(event)] = [words.next(), words.next(), words.next()] else {
            return Err(CallError::unexpected("half a delivery"));
        };
        let life = u128::from(life.uint()?) & 0xffff;
        let position = life << (MILLIS + COUNT) | number(id.text()?)?;
        let attempt = u32::try_from(attempt.uint()?).unwrap_or(u32::MAX);
        deliveries.push(Delivery::new(Receipt { position, attempt }, Arc::new(envelope(&event)?)));
    }
    Ok((deliveries, u64::try_from(again).ok().map(Duration::from_millis)))
}

fn envelope(json: &Answer) -> Result<Envelope, CallError> {
    Envelope::from_cloud_event(json.text()?)
        .map_err(|_| CallError::unexpected("an event that cannot be read"))
}

pub(super) fn standing(answer: &Answer) -> Result<Standing, StoreError> {
    Ok(if answer.int()? == 1 { Standing::Held } else { Standing::Gone })
}

pub(super) fn stats(answer: Answer) -> Result<Vec<QueueStats>, CallError> {
    answer.into_list()?.into_iter().map(of_queue).collect()
}

fn of_queue(line: Answer) -> Result<QueueStats, CallError> {
    let [name, ordered, left, pending, delayed, dead, dropped, oldest] = line.into_array()?;
    let count = |answer: &Answer| Ok::<_, CallError>(usize::try_from(answer.int()?).unwrap_or(0));
    let mut stats = QueueStats::empty(queue(name.text()?)?);
    stats.ordered = ordered.int()? == 1;
    (stats.pending, stats.delayed, stats.dead) = (count(&pending)?, count(&delayed)?, count(&dead)?);
    stats.queued = count(&left)?.saturating_sub(stats.pending + stats.delayed);
    stats.dead_dropped = dropped.uint()?;
    stats.oldest = u64::try_from(oldest.int()?).ok().map(Duration::from_millis);
    Ok(stats)
}

/// The queue of this name.
fn queue(name: &str) -> Result<Queue, CallError> {
    let wrong = || CallError::unexpected("no name of a queue");
    let pattern = |text| Pattern::new(text).map_err(|_| wrong());
    let (group, last) = name.rsplit_once('/').ok_or_else(wrong)?;
    let Some(instance) = last.strip_prefix('@') else {
        return Ok(Queue::shared(group.into(), pattern(last)?));
    };
    let (group, last) = group.rsplit_once('/').ok_or_else(wrong)?;
    let instance = instance.replace("%2F", "/").replace("%25", "%");
    Ok(Queue::own(group.into(), pattern(last)?, instance.into()))
}

pub(super) fn dead(answer: Answer) -> Result<Vec<Dead>, CallError> {
    answer.into_list()?.into_iter().map(letter).collect()
}

fn letter(entry: Answer) -> Result<Dead, CallError> {
    let [id, fields] = entry.into_array()?;
    let fields = fields.into_list()?;
    let field = |name: &str| {
        let found = fields.chunks_exact(2).find(|pair| pair[0].text() == Ok(name));
        found
            .map(|pair| &pair[1])
            .ok_or_else(|| CallError::unexpected("a dead letter without all its fields"))
    };
    let millis = i64::try_from(number(id.text()?)? >> COUNT).unwrap_or(i64::MAX);
    let at = Timestamp::from_millisecond(millis).map_err(|_| CallError::unexpected("a time out of range"))?;
    let attempts = u32::try_from(field("attempts")?.uint()?).unwrap_or(u32::MAX);
    let cause = String::from_utf8_lossy(&field("cause")?.clone().into_bytes()?).into_owned();
    Ok(Dead::new(Arc::new(envelope(field("event")?)?), attempts, cause, at))
}

/// An entry of a topic's stream: its id, and its event if it is one for everybody.
pub(super) fn entry(entry: Answer) -> Result<(String, Option<Envelope>), CallError> {
    let [id, fields] = entry.into_array()?;
    let fields = fields.into_list()?;
    let find =
        |name: &str| fields.chunks_exact(2).find(|pair| pair[0].text() == Ok(name)).map(|pair| &pair[1]);
    let event = if find("q").is_some() { None } else { find("event").map(envelope).transpose()? };
    Ok((id.text()?.to_owned(), event))
}
