//! What identifies a binding, and how its type is written for people.

use std::any::{TypeId, type_name};

/// The marker of a binding that has no name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unnamed;

/// Identity of a binding: its type and its marker type ([`Unnamed`] for most).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) value: TypeId,
    marker: TypeId,
}

impl Key {
    pub(super) fn of<T: ?Sized + 'static, K: 'static>() -> Self {
        Self { value: TypeId::of::<T>(), marker: TypeId::of::<K>() }
    }
}

/// A [`Key`] together with the names that messages print.
#[derive(Debug, Clone, Copy)]
pub(super) struct Token {
    pub(super) key: Key,
    type_name: &'static str,
    marker_name: Option<&'static str>,
}

impl Token {
    pub(super) fn of<T: ?Sized + 'static, K: 'static>() -> Self {
        let named = TypeId::of::<K>() != TypeId::of::<Unnamed>();
        Self { key: Key::of::<T, K>(), type_name: type_name::<T>(), marker_name: named.then(type_name::<K>) }
    }

    /// The same type under the name `K`.
    pub(super) fn named<K: 'static>(self) -> Self {
        let key = Key { value: self.key.value, marker: TypeId::of::<K>() };
        Self { key, marker_name: Some(type_name::<K>()), ..self }
    }

    /// `UserService`, `dyn UserRepository`, `Pool (Primary)`.
    pub(super) fn short(self) -> String {
        self.with_type(&short_name(self.type_name))
    }

    /// Like [`Token::short`] with the type's whole path, for two types that share a short name.
    pub(super) fn full(self) -> String {
        self.with_type(self.type_name)
    }

    fn with_type(self, name: &str) -> String {
        match self.marker_name {
            Some(marker) => format!("{name} ({})", short_name(marker)),
            None => name.to_owned(),
        }
    }

    /// The call that would provide this token.
    pub(super) fn remedy(self) -> String {
        let method = if self.type_name.starts_with("dyn ") { "provide_dyn" } else { "provide" };
        match self.marker_name {
            Some(marker) => format!("`container.{method}(…).named::<{}>()`", short_name(marker)),
            None => format!("`container.{method}(…)`"),
        }
    }
}

/// Drops the module path in front of every type of `name`: `a::Page<b::User>` becomes `Page<User>`.
fn short_name(name: &str) -> String {
    let mut short = String::with_capacity(name.len());
    let mut segment = 0; // where the path segment being read starts in `short`
    let mut rest = name;
    while let Some(next) = rest.chars().next() {
        if let Some(after) = rest.strip_prefix("::") {
            short.truncate(segment);
            rest = after;
            continue;
        }
        short.push(next);
        // `{{closure}}` is a segment of the path to a type declared inside an async function.
        if !(next.is_alphanumeric() || matches!(next, '_' | '{' | '}' | '#')) {
            segment = short.len();
        }
        rest = &rest[next.len_utf8()..];
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_names_keep_generics_and_lose_paths() {
        for (long, short) in [
            ("app::users::UserService", "UserService"),
            ("dyn app::users::UserRepository", "dyn UserRepository"),
            ("alloc::vec::Vec<core::option::Option<app::User>>", "Vec<Option<User>>"),
            ("dyn app::Codec<app::User> + core::marker::Send", "dyn Codec<User> + Send"),
            ("(a::B, [c::D; 3], &e::F)", "(B, [D; 3], &F)"),
            ("it::case::{{closure}}::Local", "Local"),
            ("u64", "u64"),
        ] {
            assert_eq!(short_name(long), short);
        }
    }
}
