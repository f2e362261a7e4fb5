//! Where a page of the trail ended. Clients hand it back as they got it.

use std::fmt;

use uuid::Uuid;

use crate::users::FieldError;

/// The last entry of a page. Entries are in the order of the versions they made; the id tells two entries
/// of one version apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) version: i64,
    pub(crate) event: Uuid,
}

const PREFIX: &str = "a1";

impl Place {
    /// # Errors
    /// A problem with the field `cursor` for anything but the text of a place.
    pub(crate) fn parse(text: &str) -> Result<Self, FieldError> {
        let read = || {
            let (version, event) = text.strip_prefix(PREFIX)?.strip_prefix('_')?.split_once('_')?;
            let place = Self { version: version.parse().ok()?, event: Uuid::try_parse(event).ok()? };
            // Only our own spelling, as with the cursor of the list.
            (place.to_string() == text).then_some(place)
        };
        read().ok_or(FieldError::new("cursor", "invalid", "must be a nextCursor from an earlier page"))
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}_{}_{}", self.version, self.event.simple())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_place_survives_its_text(version in any::<i64>(), bits in any::<u128>()) {
            let place = Place { version, event: Uuid::from_u128(bits) };
            prop_assert_eq!(Place::parse(&place.to_string()), Ok(place));
        }

        #[test]
        fn nothing_else_is_a_place(text in "(a1_[0-9]{1,3}_)?\\PC{0,40}") {
            if let Ok(place) = Place::parse(&text) {
                prop_assert_eq!(place.to_string(), text);
            }
        }
    }

    #[test]
    fn other_spellings_are_refused() {
        let id = "0192f3a1b2c37d4e8f90a1b2c3d4e5f6";
        assert!(Place::parse(&format!("a1_1_{id}")).is_ok());
        let wrong = ["", "a1", "a1_", "a1_1", "a1_1_", "a1__1"].map(str::to_owned);
        let spelt = ["a1_01_", "a1_+1_", "a1_1_-", "a2_1_", "A1_1_", "a1_9223372036854775808_"];
        for text in wrong.into_iter().chain(spelt.map(|start| format!("{start}{id}"))) {
            assert_eq!(Place::parse(&text).unwrap_err().field, "cursor", "{text}");
        }
    }
}
