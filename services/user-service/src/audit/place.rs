//! Where a page of the trail ended. Clients hand it back as they got it.

use std::fmt;

use crate::users::FieldError;

/// The last entry of a page. Entries are in the order of the versions they made; the id tells two entries
/// of one version apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) version: i64,
    pub(crate) event: String,
}

const PREFIX: &str = "a1";
const LONGEST: usize = 300;

impl Place {
    /// # Errors
    /// A problem with the field `cursor` for anything but the text of a place.
    pub(crate) fn parse(text: &str) -> Result<Self, FieldError> {
        let read = || {
            let mut parts = text.splitn(3, '_');
            let (prefix, version, event) = (parts.next()?, parts.next()?, parts.next()?);
            let place = Self { version: version.parse().ok()?, event: event.to_owned() };
            // Only our own spelling, as with the cursor of the list.
            (prefix == PREFIX && text.len() <= LONGEST && !event.is_empty() && place.to_string() == text)
                .then_some(place)
        };
        read().ok_or(FieldError::new("cursor", "invalid", "must be a nextCursor from an earlier page"))
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}_{}_{}", self.version, self.event)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_place_survives_its_text(version in any::<i64>(), event in "[0-9a-z_-]{1,64}") {
            let place = Place { version, event };
            prop_assert_eq!(Place::parse(&place.to_string()), Ok(place));
        }

        #[test]
        fn nothing_else_is_a_place(text in "(a1_)?\\PC{0,40}") {
            if let Ok(place) = Place::parse(&text) {
                prop_assert_eq!(place.to_string(), text);
            }
        }
    }

    #[test]
    fn other_spellings_are_refused() {
        let long = format!("a1_1_{}", "x".repeat(300));
        for text in ["", "a1", "a1_", "a1_1", "a1_1_", "a1_01_x", "a1_+1_x", "a2_1_x", "c1_1_x", &long] {
            assert_eq!(Place::parse(text).unwrap_err().field, "cursor", "{text}");
        }
    }
}
