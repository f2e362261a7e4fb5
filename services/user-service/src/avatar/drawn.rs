//! A circle with initials.

/// An SVG with the initials of a name, in a colour that depends on the id alone.
pub(super) fn initials(id: &str, name: &str) -> String {
    // FNV-1a: the same colour in every process and version.
    let hash = id
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3));
    let (hue, text) = (hash % 360, escaped(&letters(name)));
    format!(
        r#"<svg xmlns="http://www.w3.org/2000/svg" width="96" height="96" viewBox="0 0 96 96" role="img">
<circle cx="48" cy="48" r="48" fill="hsl({hue},55%,42%)"/>
<text x="48" y="48" dy=".36em" text-anchor="middle" font-family="sans-serif" font-size="38" fill="white">{text}</text>
</svg>
"#
    )
}

/// The first letters of the first and the last word.
fn letters(name: &str) -> String {
    let mut words =
        name.split_whitespace().filter_map(|word| word.chars().find(|letter| letter.is_alphanumeric()));
    let first = words.next();
    let last = words.next_back();
    let letters: String = first.into_iter().chain(last).flat_map(char::to_uppercase).collect();
    if letters.is_empty() { "?".to_owned() } else { letters }
}

fn escaped(text: &str) -> String {
    text.chars().map(|letter| if letter.is_alphanumeric() { letter } else { '?' }).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_first_and_the_last_word_have_a_letter_each() {
        for (name, expected) in [
            ("Ada Lovelace", "AL"),
            ("ada", "A"),
            ("Jean-Luc van der Berg", "JB"),
            ("  émile   zola ", "ÉZ"),
            ("李 小龍", "李小"),
            ("\"<&> 'x'", "X"),
            ("<script>", "S"),
            ("...", "?"),
            ("", "?"),
            ("ß x", "SSX"),
        ] {
            assert_eq!(letters(name), expected, "{name}");
        }
    }

    #[test]
    fn the_colour_depends_on_the_id_alone() {
        let colour = |id, name| initials(id, name).split("hsl(").nth(1).unwrap()[..3].to_owned();
        assert_eq!(colour("a", "Ada"), colour("a", "Grace"));
        assert_ne!(colour("a", "Ada"), colour("b", "Ada"));
    }

    proptest! {
        #[test]
        fn no_name_becomes_markup(name in ".*") {
            let svg = initials("id", &name);
            prop_assert_eq!(svg.matches('<').count(), initials("id", "Ada").matches('<').count());
            prop_assert!(!svg.contains('&'));
        }
    }
}
