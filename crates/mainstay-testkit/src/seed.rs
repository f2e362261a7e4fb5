//! Randomness that can be replayed.

use std::hash::{BuildHasher, RandomState};

/// The number a random test starts from. The same seed gives the same test.
///
/// ```
/// use mainstay_testkit::Seed;
///
/// let seed = Seed::from_env("MAINSTAY_SEED");
/// let mut rng = seed.rng();
/// let burst = 1 + rng.below(100);
/// assert!((1..=100).contains(&burst));
/// assert_eq!(burst, 1 + Seed::new(seed.value()).rng().below(100));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seed(u64);

impl Seed {
    /// A fixed seed.
    #[must_use]
    pub const fn new(value: u64) -> Self {
        Self(value)
    }

    /// The seed in the environment variable `name` (decimal), or a new one where it is not set.
    ///
    /// Prints the assignment that replays the test; the test harness shows it when the test fails.
    ///
    /// # Panics
    ///
    /// If the variable is set to something else than a number.
    #[must_use]
    #[track_caller]
    #[expect(clippy::print_stderr, reason = "whoever reads the failure needs the seed")]
    pub fn from_env(name: &str) -> Self {
        let seed = match std::env::var(name) {
            Ok(text) => Self(text.parse().unwrap_or_else(|_| panic!("{name}={text} is not a number"))),
            // The standard library's only source of random bits: the keys of its hash maps.
            Err(_) => Self(RandomState::new().hash_one(name)),
        };
        eprintln!("replay with {name}={}", seed.0);
        seed
    }

    /// The number itself.
    #[must_use]
    pub const fn value(self) -> u64 {
        self.0
    }

    /// A generator that starts here.
    #[must_use]
    pub const fn rng(self) -> Rng {
        Rng { state: self.0 }
    }
}

/// A small pseudo-random generator: SplitMix64 (Steele, Lea and Flood, "Fast splittable
/// pseudorandom number generators", OOPSLA 2014). Its sequence never changes, so a seed in an old
/// failure report stays worth something.
#[derive(Debug, Clone)]
pub struct Rng {
    state: u64,
}

impl Rng {
    /// The next 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.state;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    /// A number in `0..end`, with a bias below `end / 2⁶⁴`.
    ///
    /// # Panics
    ///
    /// If `end` is 0: there is no such number.
    #[track_caller]
    pub fn below(&mut self, end: u64) -> u64 {
        assert!(end > 0, "no number is below 0");
        let scaled = u128::from(self.next_u64()) * u128::from(end);
        u64::try_from(scaled >> 64).expect("the upper half of a product has 64 bits")
    }

    /// Whether an event of this probability (0.0 to 1.0) happens.
    pub fn chance(&mut self, probability: f64) -> bool {
        self.next_u64() as f64 / 2f64.powi(64) < probability
    }

    /// One of `items`.
    ///
    /// # Panics
    ///
    /// If there is none.
    #[track_caller]
    pub fn pick<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.index(items.len())]
    }

    /// Brings `items` into a random order (Fisher and Yates).
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.index(last + 1));
        }
    }

    #[track_caller]
    fn index(&mut self, length: usize) -> usize {
        usize::try_from(self.below(length as u64)).expect("an index is below a length in memory")
    }
}
