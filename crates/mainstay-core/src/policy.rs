//! What the named policies of the resilience parts have in common.

/// Longest name of a policy.
pub const MAX_NAME: usize = 64;

/// A policy, or its name, that cannot be right.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{part} {field} {reason}")]
#[non_exhaustive]
pub struct PolicyError {
    /// The part that was to follow it, such as `retry`.
    pub part: &'static str,
    /// The field of its policy, or `name`.
    pub field: &'static str,
    /// What is wrong with it.
    pub reason: &'static str,
}

/// Whether this can name a policy of `part`: it becomes a label, a key in a file and a part of a path.
///
/// # Errors
/// The name is not 1 to [`MAX_NAME`] of `[a-z0-9._-]`.
pub fn check_name(part: &'static str, name: &str) -> Result<(), PolicyError> {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._-".contains(&byte);
    let kept = (1..=MAX_NAME).contains(&name.len()) && name.bytes().all(allowed);
    check(part, [(kept, "name", "must be 1 to 64 of a-z, 0-9, '.', '_' and '-'")])
}

/// Names the first field whose rule is not kept.
pub(crate) fn check<const N: usize>(
    part: &'static str,
    rules: [(bool, &'static str, &'static str); N],
) -> Result<(), PolicyError> {
    match rules.into_iter().find(|(kept, ..)| !kept) {
        None => Ok(()),
        Some((_, field, reason)) => Err(PolicyError { part, field, reason }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_short_and_plain() {
        for name in ["a", "billing.v2_eu-west", &"x".repeat(MAX_NAME)] {
            assert_eq!(check_name("retry", name), Ok(()), "{name}");
        }
        for name in ["", "Billing", "a b", "a/b", "é", &"x".repeat(MAX_NAME + 1)] {
            let error = check_name("retry", name).unwrap_err();
            assert_eq!((error.part, error.field), ("retry", "name"), "{name}");
        }
    }
}
