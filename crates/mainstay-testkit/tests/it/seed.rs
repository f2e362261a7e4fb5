//! Promises of `Seed`.

use std::collections::BTreeSet;

use mainstay_testkit::Seed;

#[test]
fn the_sequence_of_a_seed_is_that_of_the_published_algorithm() {
    // Reference output of splitmix64.c for the seed 1234567.
    let mut rng = Seed::new(1_234_567).rng();
    let expected = [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423];
    assert_eq!([rng.next_u64(), rng.next_u64(), rng.next_u64()], expected);
}

#[test]
fn a_fresh_seed_replays_and_differs_from_the_next() {
    let seed = Seed::from_env("MAINSTAY_TESTKIT_UNSET");
    assert_eq!(seed.rng().next_u64(), Seed::new(seed.value()).rng().next_u64());
    assert_ne!(seed, Seed::from_env("MAINSTAY_TESTKIT_UNSET"));
}

#[test]
fn every_number_below_the_bound_comes_and_no_other() {
    let mut rng = Seed::new(1).rng();
    let seen: BTreeSet<u64> = (0..1_000).map(|_| rng.below(7)).collect();
    assert_eq!(seen, (0..7).collect());
    assert_eq!(rng.below(1), 0);
}

#[test]
fn certain_and_impossible_events_are_just_that() {
    let mut rng = Seed::new(2).rng();
    assert!((0..1_000).all(|_| rng.chance(1.0) && !rng.chance(0.0)));
}

#[test]
fn shuffling_keeps_every_item() {
    let mut items: Vec<u32> = (0..50).collect();
    Seed::new(3).rng().shuffle(&mut items);
    assert_ne!(items, (0..50).collect::<Vec<_>>());
    items.sort_unstable();
    assert_eq!(items, (0..50).collect::<Vec<_>>());
}
