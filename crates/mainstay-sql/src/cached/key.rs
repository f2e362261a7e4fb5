//! Under which key a result is kept.

use sha2::{Digest, Sha256};

use crate::Value;
use crate::backend::Statement;

/// The statement's name, for people, and a digest of everything that makes a difference. Each part is hashed with
/// its length and each value with its type, so that no two queries read the same.
pub(super) fn of(kind: &str, statement: &Statement) -> String {
    let mut digest = Sha256::new();
    let mut part = |kind: u8, bytes: &[u8]| {
        digest.update([kind]);
        digest.update((bytes.len() as u64).to_be_bytes());
        digest.update(bytes);
    };
    part(b's', kind.as_bytes());
    part(b's', statement.label.as_bytes());
    part(b's', statement.sql.as_bytes());
    for value in &statement.values {
        match value {
            Value::Null => part(b'n', &[]),
            Value::Bool(value) => part(b'b', &[u8::from(*value)]),
            Value::Int(value) => part(b'i', &value.to_be_bytes()),
            Value::Real(value) => part(b'r', &value.to_bits().to_be_bytes()),
            Value::Text(value) => part(b't', value.as_bytes()),
            Value::Blob(value) => part(b'x', value),
        }
    }
    let name: String = statement.label.chars().take(64).collect();
    digest.finalize().iter().take(16).fold(format!("sql:{name}:"), |mut key, byte| {
        use std::fmt::Write;
        write!(key, "{byte:02x}").expect("a string takes what is written");
        key
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn value() -> impl Strategy<Value = Value> {
        // Few and alike, so that neighbours are tried.
        prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::Bool),
            (-2_i64..3).prop_map(Value::Int),
            prop_oneof![Just(0.0), Just(-0.0), Just(1.0)].prop_map(Value::Real),
            "[01tn]{0,3}".prop_map(Value::Text),
            "[01tn]{0,3}".prop_map(|text| Value::Blob(text.into_bytes())),
        ]
    }

    fn same(a: &Value, b: &Value) -> bool {
        match (a, b) {
            (Value::Real(a), Value::Real(b)) => a.to_bits() == b.to_bits(),
            (a, b) => a == b,
        }
    }

    fn statement(label: &'static str, sql: &'static str, values: &[Value]) -> Statement {
        Statement { label, sql, values: values.to_vec() }
    }

    proptest! {
        #[test]
        fn two_queries_have_one_key_if_and_only_if_their_values_are_the_same(
            a in prop::collection::vec(value(), 0..4), b in prop::collection::vec(value(), 0..4)
        ) {
            let alike = a.len() == b.len() && a.iter().zip(&b).all(|(a, b)| same(a, b));
            prop_assert_eq!(of("all", &statement("n", "SELECT", &a)) == of("all", &statement("n", "SELECT", &b)), alike);
        }
    }

    #[test]
    fn name_text_and_kind_make_a_difference() {
        let keys = [
            of("all", &statement("a", "bc", &[])),
            of("all", &statement("ab", "c", &[])),
            of("all", &statement("a", "b", &[Value::Text("c".into())])),
            of("optional", &statement("a", "bc", &[])),
        ];
        let distinct: std::collections::HashSet<_> = keys.iter().collect();
        assert_eq!(distinct.len(), keys.len(), "{keys:?}");
        assert!(keys[0].starts_with("sql:a:"));
    }
}
