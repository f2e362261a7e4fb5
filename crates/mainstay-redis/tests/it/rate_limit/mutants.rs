//! Scripts with one bug each: those that limiters on Redis have had. The tests see through all of them.

use mainstay_redis::rate_limit::RedisLimits;
use mainstay_testkit::Seed;
use mainstay_testkit::redis::RedisServer;

use super::lane::Patch;
use super::{connect, schedules};

/// Exchanges a part of whichever script has it.
macro_rules! bug {
    ($part:literal, $by:literal) => {
        |script| script.replace($part, $by)
    };
}

const BUGS: [(&str, Patch); 13] = [
    ("GCRA rounds to the nearest", bug!("- ahead, 0) / state.width)", "- ahead, 0) / state.width + 0.5)")),
    (
        "the oldest bucket is not counted",
        bug!("total = total + count", "total = total + (at > newest - buckets and count or 0)"),
    ),
    ("the calendar is believed when it steps back", bug!("math.max(known[1], bucket)", "bucket")),
    ("charges although one is refused", bug!("if admitted and ARGV[1] == 'take'", "if ARGV[1] == 'take'")),
    ("a look charges", bug!("if admitted and ARGV[1] == 'take'", "if admitted")),
    ("one key is judged once", bug!("state.pending = wanted", "state.pending = 0")),
    ("one too many", bug!("wanted > room", "wanted > room + 1")),
    (
        "the wait ends a bucket early",
        bug!("return (at + ring) * state.width - now", "return (at + ring - 1) * state.width - now"),
    ),
    (
        "told to wait for what never fits",
        bug!("wanted > state.capacity and -1 or", "wanted > state.capacity and 1000000 or"),
    ),
    ("gives back twice", bug!("math.min(cost, counts[place])", "math.min(2 * cost, counts[place])")),
    ("gives back what has left its window", bug!("or mark < newest - buckets", "")),
    ("gives back what is earned again", bug!("math.min(width * cost, earned, 1e15 - moved)", "width * cost")),
    ("a refund forgets those before it", bug!("mark - moved", "mark")),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn schedules_convict_every_script_with_a_bug() {
    let seed = Seed::from_env("MAINSTAY_SEED");
    let server = RedisServer::start().await;
    let redis = connect(&server.url()).await;
    for (bug, patch) in BUGS {
        let (decide, refund) = RedisLimits::scripts();
        assert!(patch(decide) != decide || patch(refund) != refund, "{bug}: nothing to exchange");
        let verdict = schedules::run(&redis, bug, patch, 200, seed).await;
        assert!(verdict.is_err(), "{bug}: not convicted");
        println!("{bug}: {}", verdict.unwrap_err().lines().next().unwrap());
    }
}
