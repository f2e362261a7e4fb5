//! `[lock]`

use std::ops::RangeInclusive;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::config::field::{Field, Kind};
use crate::config::section::{Checks, Section, defaults};

/// The shortest and the longest a lock may outlive its holder.
const TTL: RangeInclusive<Duration> = Duration::from_millis(10)..=Duration::from_secs(24 * 3600);
const LONGEST_WAIT: Duration = Duration::from_secs(24 * 3600);

/// What a lock does where its caller says nothing else.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Lock {
    /// `LOCK_TTL`: how long a lock outlives a holder that dies.
    #[serde(with = "crate::config::millis")]
    pub ttl: Duration,
    /// `LOCK_WAIT`: how long to wait for a lock that somebody holds.
    #[serde(with = "crate::config::millis")]
    pub wait: Duration,
    /// `LOCK_MAX_HOLD`: how long a lock is renewed for a holder that never lets go.
    #[serde(with = "crate::config::millis")]
    pub max_hold: Duration,
}

impl Section for Lock {
    const NAME: &'static str = "lock";
    const FIELDS: &'static [Field] = &[
        Field::new("ttl", Kind::PERIOD, "How long a lock outlives a holder that dies")
            .env(&["LOCK_TTL"])
            .default("30s")
            .restart_only(),
        Field::new("wait", Kind::DURATION, "How long to wait for a lock that somebody holds")
            .env(&["LOCK_WAIT"])
            .default("10s")
            .restart_only(),
        Field::new("max_hold", Kind::PERIOD, "How long a lock is renewed for a holder that never lets go")
            .env(&["LOCK_MAX_HOLD"])
            .default("1h")
            .restart_only(),
    ];

    fn validate(&self, checks: &mut Checks<'_>) {
        if self.ttl < *TTL.start() {
            checks.refuse(&["ttl"], "must not be shorter than 10ms: nobody could renew it in time");
        }
        if self.wait > LONGEST_WAIT {
            checks.refuse(&["wait"], "must not be longer than 24h");
        }
        if self.ttl > *TTL.end() {
            checks.refuse(
                &["ttl"],
                "must not be longer than 24h: a lock that nobody renews would stay as long",
            );
        }
        if self.max_hold < self.ttl {
            checks.refuse(&["max_hold", "ttl"], "max_hold must not be shorter than ttl");
        }
    }
}

impl Default for Lock {
    fn default() -> Self {
        defaults()
    }
}
