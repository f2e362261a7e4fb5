//! "Did you mean …?"

/// Differences above this are another word, not a typing error.
const MAX_DISTANCE: usize = 3;

/// The candidate nearest to `typed`, if it is near enough to be a typing error.
pub(super) fn nearest<'a>(typed: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let typed = typed.to_lowercase();
    // A third of the word may be wrong; beyond that a guess only confuses.
    let limit = MAX_DISTANCE.min(typed.chars().count() / 3).max(1);
    candidates
        .into_iter()
        .map(|candidate| (distance(&typed, &candidate.to_lowercase()), candidate))
        .filter(|(distance, _)| *distance <= limit)
        .min()
        .map(|(_, candidate)| candidate)
}

/// Levenshtein distance over characters, one row at a time (Wagner and Fischer, 1974).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, to) in b.iter().enumerate() {
            let substituted = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distance_counts_insertions_deletions_and_substitutions() {
        for (a, b, expected) in
            [("", "", 0), ("port", "port", 0), ("prot", "port", 2), ("", "abc", 3), ("kitten", "sitting", 3)]
        {
            assert_eq!(distance(a, b), expected, "{a} {b}");
        }
    }

    #[test]
    fn only_a_near_miss_is_suggested() {
        assert_eq!(nearest("server.prot", ["server.port", "server.host"]), Some("server.port"));
        assert_eq!(nearest("rate-limit", ["rate_limit", "redis"]), Some("rate_limit"));
        assert_eq!(nearest("billing", ["server", "redis"]), None);
    }
}
