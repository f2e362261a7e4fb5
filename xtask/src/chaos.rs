//! `cargo xtask chaos`: the random tests of the primitives at full scale.

use crate::step::{self, Failure, cargo};

/// A package, the binary of random tests in it, those that count rounds (none named: all), and how many times the
/// rounds of an ordinary run.
struct Campaign {
    package: &'static str,
    binary: &'static str,
    tests: &'static [&'static str],
    scale: &'static str,
}

const CAMPAIGNS: &[Campaign] = &[
    // A million drops of locks, three million of loads, three million events, a million steps of breakers.
    Campaign {
        package: "mainstay-core",
        binary: "it",
        tests: &["breaker::", "cache::", "event::", "lock::", "rate_limit::"],
        scale: "150",
    },
    // A million callers of bulkheads, most of whom leave.
    Campaign { package: "mainstay-core", binary: "it", tests: &["bulkhead::cancels"], scale: "10" },
    // Every schedule of three threads at a breaker, not only those of two interruptions. Any number of rounds says so.
    Campaign { package: "mainstay-core", binary: "loom", tests: &[], scale: "1" },
    // On real servers: 100,000 contended locks while the primary dies, a million steps of a history of versions.
    Campaign {
        package: "mainstay-redis",
        binary: "it",
        tests: &["cache::history", "cache::processes", "lock::chaos", "lock::dropping"],
        scale: "50",
    },
    // Two outages of a minute.
    Campaign { package: "mainstay-redis", binary: "it", tests: &["rate_limit::outage"], scale: "60" },
    // 100,000 schedules of each kind of limit.
    Campaign { package: "mainstay-redis", binary: "it", tests: &["rate_limit::schedules"], scale: "250" },
    // A million events of transactions, while whoever publishes, handles and carries them is killed.
    Campaign { package: "mainstay", binary: "it", tests: &["event_chaos::"], scale: "1000" },
];

/// Optimized, because a million rounds are; `MAINSTAY_ROUNDS` and `MAINSTAY_SEED` are the test's own.
pub(crate) fn run(args: &[String]) -> Result<(), Failure> {
    Failure::unless_empty(args)?;
    for campaign in CAMPAIGNS {
        let mut command = cargo(&[
            "test",
            "--release",
            "--package",
            campaign.package,
            "--test",
            campaign.binary,
            "--",
            "--show-output",
        ]);
        command.args(campaign.tests);
        if std::env::var_os("MAINSTAY_ROUNDS").is_none() {
            command.env("MAINSTAY_ROUNDS", campaign.scale);
        }
        step::run(command)?;
    }
    Ok(())
}
