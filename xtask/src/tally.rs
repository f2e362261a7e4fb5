//! Reads how many tests passed and failed from the summaries of the test runners.

use std::ops::AddAssign;

/// How many tests passed and failed.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
    }
}

/// Whose summary to read. Only its own: nextest shows the output of a failed test, and that holds
/// libtest's summary of the same test.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Summary {
    /// `Summary [0.1s] 5 tests run: 3 passed, 1 failed, 1 timed out, 0 skipped`, once.
    Nextest,
    /// `test result: ok. 3 passed; 0 failed; …`, once for each test binary.
    Libtest,
}

impl Summary {
    /// The counts in `line`; zero where it is no summary.
    pub(crate) fn read(self, line: &str) -> Tally {
        let line = without_colour(line);
        let opening = match self {
            Self::Nextest => "Summary [",
            Self::Libtest => "test result: ",
        };
        line.trim_start().strip_prefix(opening).map(counts).unwrap_or_default()
    }
}

/// Adds up each number by the word behind it.
fn counts(summary: &str) -> Tally {
    let words: Vec<&str> =
        summary.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty()).collect();
    let mut tally = Tally::default();
    for pair in words.windows(2) {
        match (pair[0].parse::<u64>(), pair[1]) {
            (Ok(number), "passed") => tally.passed += number,
            (Ok(number), "failed" | "timed" | "exec") => tally.failed += number,
            _ => {}
        }
    }
    tally
}

/// Drops terminal colours: `ESC [ … m`.
fn without_colour(line: &str) -> String {
    let mut parts = line.split('\u{1b}');
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        plain += part.split_once('m').map_or("", |(_, text)| text);
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::{Summary, Tally};

    fn tally(passed: u64, failed: u64) -> Tally {
        Tally { passed, failed }
    }

    #[test]
    fn nextest_failures_of_every_kind_count() {
        let line = "     Summary [   0.005s] 7/9 tests run: 3 passed (1 slow), 2 failed, 1 timed out, 1 exec failed, 4 skipped\n";
        assert_eq!(Summary::Nextest.read(line), tally(3, 4));
    }

    #[test]
    fn libtest_counts_are_read() {
        let line = "test result: FAILED. 12 passed; 2 failed; 1 ignored; 0 measured; 7 filtered out; finished in 0.31s";
        assert_eq!(Summary::Libtest.read(line), tally(12, 2));
    }

    #[test]
    fn colours_do_not_hide_a_summary() {
        let line = "\u{1b}[32;1m     Summary\u{1b}[0m [   0.1s] \u{1b}[1m2\u{1b}[0m tests run: \u{1b}[1m2\u{1b}[0m \u{1b}[32;1mpassed\u{1b}[0m, 0 skipped";
        assert_eq!(Summary::Nextest.read(line), tally(2, 0));
    }

    #[test]
    fn output_of_a_failed_test_is_not_counted_twice() {
        let line = "test result: FAILED. 0 passed; 1 failed; 0 ignored";
        assert_eq!(Summary::Nextest.read(line), tally(0, 0));
    }
}
