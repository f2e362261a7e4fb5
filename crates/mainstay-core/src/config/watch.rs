//! Being told when a section changes.

use std::marker::PhantomData;
use std::sync::Arc;

use tokio::sync::watch;

use super::section::{Erased, Section};

/// Follows one section; made by [`Config::watch`](super::Config::watch).
///
/// It wakes only when a value of this section changed. Changes in quick succession may be seen as one.
pub struct Watch<S> {
    receiver: watch::Receiver<Erased>,
    section: PhantomData<fn() -> S>,
}

impl<S: Section> Watch<S> {
    pub(super) fn new(receiver: watch::Receiver<Erased>) -> Self {
        Self { receiver, section: PhantomData }
    }

    /// The section as it is now.
    #[must_use]
    pub fn current(&self) -> Arc<S> {
        typed(Arc::clone(&self.receiver.borrow()))
    }

    /// Waits for the next change and returns the section after it; `None` once every [`Config`]
    /// handle is gone. Safe to drop at any point: a change is then seen by the next call.
    ///
    /// [`Config`]: super::Config
    pub async fn changed(&mut self) -> Option<Arc<S>> {
        self.receiver.changed().await.ok()?;
        Some(typed(Arc::clone(&self.receiver.borrow_and_update())))
    }
}

/// The section behind its erased form.
pub(super) fn typed<S: Section>(section: Erased) -> Arc<S> {
    section.downcast().expect("a section is kept under its own type")
}
