//! Characters that must not reach a terminal or a log viewer as they are.

/// Control characters (C0, DEL and C1), line and paragraph separators, and the marks that make text
/// read in another order than it is written.
pub(super) fn is_hostile(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}'
        )
}
