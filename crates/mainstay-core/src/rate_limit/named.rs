//! A key under a policy, as the maps in this process know it.

use std::hash::{BuildHasher, BuildHasherDefault, Hash, Hasher};

use papaya::Equivalent;

use super::policy::Policy;
use super::store::Debit;

pub(super) type Random = foldhash::fast::RandomState;

/// A map that takes no lock to read and hashes nothing twice.
pub(super) type Map<T> = papaya::HashMap<Owned, T, BuildHasherDefault<Hashed>>;

/// As a map holds it.
#[derive(Debug)]
pub(super) struct Owned {
    hash: u64,
    policy: Policy,
    name: Box<str>,
}

/// The same, as it is asked for, hashed once.
#[derive(Debug, Clone, Copy)]
pub(super) struct Query<'a> {
    pub(super) hash: u64,
    pub(super) debit: &'a Debit<'a>,
}

impl<'a> Query<'a> {
    #[inline]
    pub(super) fn new(random: &Random, debit: &'a Debit<'a>) -> Self {
        let mut hasher = random.build_hasher();
        debit.policy.hash(&mut hasher);
        hasher.write(debit.key.name().as_bytes());
        Self { hash: hasher.finish(), debit }
    }

    pub(super) fn owned(self) -> Owned {
        Owned { hash: self.hash, policy: self.debit.policy, name: self.debit.key.name().into() }
    }
}

impl PartialEq for Owned {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name && self.policy == other.policy
    }
}

impl Eq for Owned {}

impl Hash for Owned {
    fn hash<H: Hasher>(&self, into: &mut H) {
        into.write_u64(self.hash);
    }
}

impl Hash for Query<'_> {
    #[inline]
    fn hash<H: Hasher>(&self, into: &mut H) {
        into.write_u64(self.hash);
    }
}

impl Equivalent<Owned> for Query<'_> {
    #[inline]
    fn equivalent(&self, owned: &Owned) -> bool {
        *owned.name == *self.debit.key.name() && owned.policy == self.debit.policy
    }
}

/// Hands on what was hashed before.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Hashed(u64);

impl Hasher for Hashed {
    #[inline]
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _bytes: &[u8]) {
        unreachable!("only a hash is written");
    }

    #[inline]
    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}
