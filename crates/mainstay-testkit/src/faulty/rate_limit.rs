//! A store of `mainstay_core::rate_limit` that fails on purpose.

use std::sync::Arc;

use mainstay_core::rate_limit::{Debit, Mode, Receipt, Store, Verdicts};
use mainstay_core::store::{Reply, StoreError};

use super::Faults;

/// A store around a store.
#[derive(Debug)]
pub struct Faulty {
    inner: Arc<dyn Store>,
    faults: Faults,
}

impl Faulty {
    /// `inner`, but for what `faults` says.
    #[must_use]
    pub fn new(inner: Arc<dyn Store>, faults: Faults) -> Self {
        Self { inner, faults }
    }
}

impl Store for Faulty {
    fn decide<'a>(&'a self, debits: &'a [Debit<'a>], mode: Mode) -> Reply<'a, Result<Verdicts, StoreError>> {
        Reply::pending(self.faults.around(async move { self.inner.decide(debits, mode).await }))
    }

    fn refund<'a>(&'a self, debit: Debit<'a>, receipt: Receipt) -> Reply<'a, Result<(), StoreError>> {
        Reply::pending(self.faults.around(async move { self.inner.refund(debit, receipt).await }))
    }
}
