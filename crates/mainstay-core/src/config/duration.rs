//! Durations as people write them: `1500`, `250ms`, `30s`, `5m`, `24h`, `7d`.

use std::time::Duration;

/// Longest duration accepted, so that adding one to a clock can never overflow: 3650 days.
pub(super) const MAX: Duration = Duration::from_secs(3650 * 24 * 60 * 60);

/// Units with their length in milliseconds, longest first.
const UNITS: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// Reads an integer with an optional unit; without a unit it counts milliseconds.
///
/// `None` if the text has another form or means more than 3650 days.
///
/// ```
/// use mainstay_core::config::parse_duration;
/// use std::time::Duration;
///
/// assert_eq!(parse_duration("24h"), Some(Duration::from_secs(24 * 60 * 60)));
/// assert_eq!(parse_duration("250"), Some(Duration::from_millis(250)));
/// assert_eq!(parse_duration("soon"), None);
/// ```
#[must_use]
pub fn parse_duration(text: &str) -> Option<Duration> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let factor = match unit.trim_start() {
        "" => 1,
        unit => UNITS.iter().find(|(name, _)| *name == unit)?.1,
    };
    let duration = Duration::from_millis(number.parse::<u64>().ok()?.checked_mul(factor)?);
    (duration <= MAX).then_some(duration)
}

/// The shortest exact way to write `ms` milliseconds.
pub(super) fn format_millis(ms: u64) -> String {
    let fits = |(_, factor): &&(&str, u64)| ms >= *factor && ms.is_multiple_of(*factor);
    let (unit, factor) = UNITS.iter().find(fits).unwrap_or(&("ms", 1));
    format!("{}{unit}", ms / factor)
}

/// For `#[serde(with = "mainstay_core::config::millis")]` on the [`Duration`] fields of a section:
/// the configuration keeps every duration as whole milliseconds.
pub mod millis {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    /// Writes whole milliseconds.
    ///
    /// # Errors
    /// Those of the serializer.
    pub fn serialize<S: Serializer>(value: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(u64::try_from(value.as_millis()).unwrap_or(u64::MAX))
    }

    /// Reads whole milliseconds.
    ///
    /// # Errors
    /// Those of the deserializer, and anything but a non-negative integer.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        u64::deserialize(deserializer).map(Duration::from_millis)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn units_mean_what_they_say_and_no_unit_means_milliseconds() {
        for (text, ms) in [("0", 0), ("250ms", 250), ("30s", 30_000), ("5m", 300_000), (" 7 d ", 604_800_000)]
        {
            assert_eq!(parse_duration(text), Some(Duration::from_millis(ms)), "{text}");
        }
    }

    #[test]
    fn anything_else_is_refused_without_panic() {
        for text in ["", "s", "-1", "1.5s", "NaN", "inf", "1w", "1S", "99999999999999999999", "4000d", "٣s"]
        {
            assert_eq!(parse_duration(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_formatted_reads_back_the_same(ms in 0..=315_360_000_000_u64) {
            prop_assert_eq!(parse_duration(&format_millis(ms)), Some(Duration::from_millis(ms)));
        }

        #[test]
        fn no_text_makes_the_parser_panic(text in ".*") {
            let _ = parse_duration(&text);
        }
    }
}
