//! The commands of one connection that are not answered yet.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::CallError;

/// Counts what is on its way, and refuses what would be too much.
///
/// A command that was given up is still on its way: dropping its future takes nothing back. Answers come in the order
/// of the questions, so an answer to a later question shows that it is not any more.
#[derive(Debug, Default)]
pub(crate) struct Places {
    taken: AtomicUsize,
    /// Of these, those whose callers gave up.
    given_up: AtomicUsize,
}

/// Commands on their way that are answered together.
pub(crate) struct Place<'a> {
    places: &'a Places,
    commands: usize,
    answered: bool,
}

impl Places {
    pub(crate) fn enter(&self, commands: usize, most: usize) -> Result<Place<'_>, CallError> {
        if self.taken.fetch_add(commands, Ordering::Relaxed).saturating_add(commands) > most {
            self.taken.fetch_sub(commands, Ordering::Relaxed);
            return Err(CallError::not_sent("too many commands wait for an answer"));
        }
        Ok(Place { places: self, commands, answered: false })
    }

    pub(crate) fn taken(&self) -> usize {
        self.taken.load(Ordering::Relaxed)
    }

    /// How many were given up so far, and not seen to be answered.
    pub(crate) fn given_up(&self) -> usize {
        self.given_up.load(Ordering::Acquire)
    }

    /// A question was answered that was asked when so many had been given up.
    pub(crate) fn answered(&self, given_up: usize) {
        self.given_up.fetch_sub(given_up, Ordering::Relaxed);
        self.taken.fetch_sub(given_up, Ordering::Relaxed);
    }
}

impl Place<'_> {
    /// Nothing of it is on its way any more.
    pub(crate) fn settle(mut self) {
        self.answered = true;
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        if self.answered {
            self.places.taken.fetch_sub(self.commands, Ordering::Relaxed);
        } else {
            self.places.given_up.fetch_add(self.commands, Ordering::Release);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_that_was_given_up_keeps_its_place_until_a_later_one_is_answered() {
        let places = Places::default();
        places.enter(1, 2).unwrap().settle();
        assert!(places.enter(3, 2).is_err());
        let (first, second) = (places.enter(1, 2).unwrap(), places.enter(1, 2).unwrap());
        assert!(matches!(places.enter(1, 2), Err(CallError::NotSent { .. })));
        drop(first);
        let asked = places.given_up();
        drop(second);
        assert_eq!(places.taken(), 2);
        places.answered(asked);
        assert_eq!((places.taken(), places.given_up()), (1, 1));
    }
}
