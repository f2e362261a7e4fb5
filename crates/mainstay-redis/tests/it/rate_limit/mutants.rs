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

const BUGS: [(&str, Patch); 17] = [
    ("GCRA rounds to the nearest", bug!("- ahead, 0) / width)", "- ahead, 0) / width + 0.5)")),
    (
        "the oldest bucket is not counted",
        bug!("(known - low) % 256 <= buckets then", "(known - low) % 256 < buckets then"),
    ),
    (
        "the calendar is believed when it steps back",
        bug!("newest = math.max(known, newest)", "known = newest"),
    ),
    ("charges although one is refused", bug!("if admitted and takes", "if takes")),
    ("a look charges", bug!("judge(takes and alone)", "judge(alone)")),
    ("one key is judged once", bug!("pending[key] = before + cost", "pending[key] = 0")),
    ("one too many", bug!("wanted > room", "wanted > room + 1")),
    (
        "the wait ends a bucket early",
        bug!("(leaves + ring) * width - now", "(leaves + ring - 1) * width - now"),
    ),
    ("told to wait for what never fits", bug!("wait = -1", "wait = 1000000")),
    ("gives back twice", bug!("math.min(cost, spent)", "math.min(2 * cost, spent)")),
    ("gives back what has left its window", bug!("or mark < known - buckets", "")),
    ("what left the window stays in the sum", bug!("total - spent, oldest + 5", "total, oldest + 5")),
    ("a bucket is forgotten when the next begins", bug!(".. struct.pack('<BI4', known % 256, count)", "")),
    (
        "what was given back stays in the sum",
        bug!("struct.pack('<I4', total - back)", "struct.pack('<I4', total)"),
    ),
    ("a sum that nothing is left of ends with the newest bucket", bug!("while count == 0", "while false")),
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
