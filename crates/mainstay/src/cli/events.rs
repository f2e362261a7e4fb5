//! `events`: what waits, what could not be handled, and handling it once more.

use clap::Subcommand;
use mainstay_core::event::{DeadLetter, DeadLetterId, Events, QueueStats};

use super::Done;
use crate::Builder;

/// Most dead letters that are listed.
const LISTED: usize = 1_000;

#[derive(Debug, Default, Subcommand)]
pub(super) enum Command {
    /// List the queues and what waits in them (the default).
    #[default]
    List,
    /// List the events that nobody could handle, and why.
    DeadLetters,
    /// Have a dead letter delivered again, with all attempts before it.
    Redrive {
        /// As `dead-letters` shows it.
        id: DeadLetterId,
    },
}

/// Answers from the store of the service, whether it runs or not.
pub(super) async fn run(builder: Builder, command: Command) -> Done {
    let lent = builder.events().await?;
    let done = answer(&lent.events, command).await;
    lent.give_back().await;
    done
}

async fn answer(events: &Events, command: Command) -> Done {
    match command {
        Command::List => show(&queues(events.stats().await?), "no queues"),
        Command::DeadLetters => show(&dead_letters(events.dead_letters(LISTED).await?), "no dead letters"),
        Command::Redrive { id } => {
            if !events.redrive(&id).await? {
                return Err("there is no such dead letter, or not any more".into());
            }
            println!("redriven {id}");
        }
    }
    Ok(())
}

fn queues(mut all: Vec<QueueStats>) -> Vec<Vec<String>> {
    all.sort_by(|one, other| one.queue.cmp(&other.queue));
    let heads = ["GROUP", "PATTERN", "INSTANCE", "ORDERED", "QUEUED", "PENDING", "DELAYED", "DEAD", "OLDEST"];
    let rows = all.iter().map(|stats| {
        let queue = &stats.queue;
        vec![
            queue.group.to_string(),
            queue.pattern.to_string(),
            queue.instance.as_deref().unwrap_or("-").to_owned(),
            if stats.ordered { "yes" } else { "no" }.to_owned(),
            stats.queued.to_string(),
            stats.pending.to_string(),
            stats.delayed.to_string(),
            stats.dead.to_string(),
            stats.oldest.map_or("-".to_owned(), |age| format!("{:.1}s", age.as_secs_f64())),
        ]
    });
    table(&heads, rows)
}

fn dead_letters(all: Vec<DeadLetter>) -> Vec<Vec<String>> {
    let rows = all.into_iter().map(|letter| {
        let at = format!("{:.0}", letter.at);
        vec![letter.id.to_string(), letter.attempts.to_string(), at, letter.cause]
    });
    table(&["ID", "ATTEMPTS", "AT", "CAUSE"], rows)
}

fn table(heads: &[&str], rows: impl Iterator<Item = Vec<String>>) -> Vec<Vec<String>> {
    std::iter::once(heads.iter().map(|head| (*head).to_owned()).collect()).chain(rows).collect()
}

/// Prints a table whose first row are heads; without other rows, what there is none of.
fn show(table: &[Vec<String>], nothing: &str) {
    if table.len() < 2 {
        println!("{nothing}");
        return;
    }
    for line in lines(table) {
        println!("{line}");
    }
}

fn lines(table: &[Vec<String>]) -> Vec<String> {
    // What is written there came from events: it must not steer the terminal.
    let plain: Vec<Vec<String>> = table
        .iter()
        .map(|row| row.iter().map(|cell| cell.replace(|char: char| char.is_control(), " ")).collect())
        .collect();
    let columns = plain.first().map_or(0, Vec::len);
    let width = |column: usize| plain.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    plain.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_stand_below_their_heads_and_what_came_from_elsewhere_steers_nothing() {
        let rows = [vec!["a\x1b[2J".to_owned(), "7".to_owned()], vec!["é".to_owned(), "10\n".to_owned()]];
        let lines = lines(&table(&["GROUP", "QUEUED"], rows.into_iter()));
        assert_eq!(lines, ["GROUP  QUEUED", "a [2J  7", "é      10"]);
    }
}
