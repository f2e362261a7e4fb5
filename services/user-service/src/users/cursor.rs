//! Where a page ended. Clients hand it back as they got it.

use std::fmt;

use uuid::Uuid;

use super::FieldError;

/// The id of the last user of a page. Its text is opaque to clients; the prefix is its format's version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cursor(Uuid);

const PREFIX: &str = "c1_";

impl Cursor {
    /// After the user with this id; `None` for an id we never made.
    pub(crate) fn after(id: &str) -> Option<Self> {
        Uuid::try_parse(id).ok().map(Self)
    }

    /// # Errors
    /// A problem with the field `cursor` for anything but the text of a cursor.
    pub(crate) fn parse(text: &str) -> Result<Self, FieldError> {
        text.strip_prefix(PREFIX)
            .and_then(|id| Uuid::try_parse(id).ok())
            .map(Self)
            // Only our own spelling, so that equal pages have equal URLs and caches can tell.
            .filter(|cursor| cursor.to_string() == text)
            .ok_or(FieldError::new("cursor", "invalid", "must be a nextCursor from an earlier page"))
    }

    /// The id as the database keeps it.
    pub(crate) fn id(self) -> String {
        self.0.to_string()
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}{}", self.0.simple())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_cursor_survives_its_text(bits in any::<u128>()) {
            let cursor = Cursor::after(&Uuid::from_u128(bits).to_string()).unwrap();
            prop_assert_eq!(Cursor::parse(&cursor.to_string()), Ok(cursor));
        }

        #[test]
        fn nothing_else_is_a_cursor(text in "(c1_)?\\PC{0,40}") {
            if let Ok(cursor) = Cursor::parse(&text) {
                prop_assert_eq!(cursor.to_string(), text);
            }
        }
    }

    #[test]
    fn other_spellings_of_an_id_are_refused() {
        for text in [
            "",
            "c1_",
            "0192f3a1b2c37d4e8f90a1b2c3d4e5f6",
            "c1_0192F3A1B2C37D4E8F90A1B2C3D4E5F6",
            "c1_0192f3a1-b2c3-7d4e-8f90-a1b2c3d4e5f6",
            "c2_0192f3a1b2c37d4e8f90a1b2c3d4e5f6",
        ] {
            assert_eq!(Cursor::parse(text).unwrap_err().field, "cursor", "{text}");
        }
    }
}
