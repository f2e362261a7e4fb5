//! What clients send, and the checks that turn it into something the domain accepts. All problems of a
//! request are found at once.

use std::collections::BTreeMap;

use mainstay::openapi::{ToSchema, utoipa};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::{Error, FieldError, NewUser, Role, UserPatch};

/// The body of a creation. Every field may be absent or of any type here, so that what is wrong with it is
/// reported with the rest.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(default, expecting = "a JSON object")]
pub(crate) struct NewUserInput {
    #[serde(deserialize_with = "given")]
    #[schema(value_type = String, required)]
    pub(crate) email: Option<Value>,
    #[serde(deserialize_with = "given")]
    #[schema(value_type = String, required)]
    pub(crate) name: Option<Value>,
    #[serde(deserialize_with = "given")]
    #[schema(value_type = Option<String>)]
    pub(crate) phone: Option<Value>,
    #[serde(deserialize_with = "given")]
    #[schema(value_type = Option<Role>)]
    pub(crate) role: Option<Value>,
    #[serde(flatten)]
    #[schema(ignore)]
    pub(crate) unknown: BTreeMap<String, Value>,
}

/// The body of a change, as a JSON merge patch: absent leaves, `null` removes.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(default, expecting = "a JSON object")]
pub(crate) struct UserPatchInput {
    #[serde(deserialize_with = "given")]
    #[schema(value_type = Option<String>, nullable = false)]
    pub(crate) email: Option<Value>,
    #[serde(deserialize_with = "given")]
    #[schema(value_type = Option<String>, nullable = false)]
    pub(crate) name: Option<Value>,
    #[serde(deserialize_with = "given")]
    #[schema(value_type = Option<String>)]
    pub(crate) phone: Option<Value>,
    #[serde(deserialize_with = "given")]
    #[schema(value_type = Option<Role>, nullable = false)]
    pub(crate) role: Option<Value>,
    #[serde(flatten)]
    #[schema(ignore)]
    pub(crate) unknown: BTreeMap<String, Value>,
}

/// Tells `null` from absent, which serde's own `Option` does not.
pub(crate) fn given<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}

impl NewUserInput {
    /// # Errors
    /// [`Error::Invalid`] with every problem.
    pub(crate) fn check(self) -> Result<NewUser, Error> {
        let mut problems = Problems::default();
        let email = problems.required("email", self.email.unwrap_or_default(), email);
        let name = problems.required("name", self.name.unwrap_or_default(), name);
        let phone = problems.optional("phone", self.phone.unwrap_or_default(), phone);
        let role = problems.optional("role", self.role.unwrap_or_default(), role);
        problems.refuse_all(self.unknown);
        match (email, name) {
            (Some(email), Some(name)) if problems.is_empty() => {
                Ok(NewUser { email, name, phone, role: role.unwrap_or_default() })
            }
            _ => Err(problems.into_error()),
        }
    }
}

impl UserPatchInput {
    /// # Errors
    /// [`Error::Invalid`] with every problem.
    pub(crate) fn check(self) -> Result<UserPatch, Error> {
        let mut problems = Problems::default();
        let patch = UserPatch {
            email: self.email.and_then(|value| problems.required("email", value, email)),
            name: self.name.and_then(|value| problems.required("name", value, name)),
            phone: self.phone.map(|value| problems.optional("phone", value, phone)),
            role: self.role.and_then(|value| problems.required("role", value, role)),
        };
        problems.refuse_all(self.unknown);
        if problems.is_empty() { Ok(patch) } else { Err(problems.into_error()) }
    }
}

/// What is wrong so far. A field with a problem reads as absent, which is harmless: with one problem
/// nothing of the request is used.
#[derive(Default)]
pub(crate) struct Problems(Vec<FieldError>);

/// So many unknown fields are named; a request that has more will not be mended one by one.
const UNKNOWN_NAMED: usize = 10;

impl Problems {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn into_error(self) -> Error {
        Error::Invalid(self.0)
    }

    pub(crate) fn add(&mut self, problem: FieldError) {
        self.0.push(problem);
    }

    /// What must be there and is not looked at.
    pub(crate) fn present<T>(&mut self, field: &'static str, value: Option<T>) -> Option<T> {
        if value.is_none() {
            self.add(FieldError::new(field, "required", "must be given as a text"));
        }
        value
    }

    pub(crate) fn required<T>(
        &mut self,
        field: &'static str,
        value: Value,
        check: fn(&str) -> Result<T, FieldError>,
    ) -> Option<T> {
        if value.is_null() {
            self.0.push(FieldError::new(field, "required", "must be given"));
            return None;
        }
        self.optional(field, value, check)
    }

    pub(crate) fn optional<T>(
        &mut self,
        field: &'static str,
        value: Value,
        check: fn(&str) -> Result<T, FieldError>,
    ) -> Option<T> {
        let checked = match value {
            Value::Null => return None,
            Value::String(text) => check(&text),
            _ => Err(FieldError::new(field, "type", "must be a text")),
        };
        checked.map_err(|problem| self.0.push(problem)).ok()
    }

    pub(crate) fn refuse_all(&mut self, unknown: BTreeMap<String, Value>) {
        let named = unknown.into_keys().take(UNKNOWN_NAMED).map(|mut field| {
            field.truncate(field.floor_char_boundary(64));
            FieldError::new(field, "unknown", "is not a field of this request")
        });
        self.0.extend(named);
    }
}

/// The limit of RFC 5321's path, in bytes.
const EMAIL_BYTES: usize = 254;
const EMAIL_LOCAL_BYTES: usize = 64;
const NAME_CHARS: usize = 200;

/// Sane rather than complete: only a message that arrives proves an address. One `@` with something on
/// both sides, no white space, control or quoting characters, domain labels not empty. A domain without a
/// dot is fine (`root@localhost`). The domain is put in lower case.
pub(crate) fn email(text: &str) -> Result<String, FieldError> {
    let refuse = |code, message| Err(FieldError::new("email", code, message));
    // In lower case too: the unique key is, and a few letters grow.
    if text.len().max(text.to_lowercase().len()) > EMAIL_BYTES {
        return refuse("too_long", "must be at most 254 bytes");
    }
    let invalid = || refuse("invalid", "must be an e-mail address such as name@example.com");
    let Some((local, domain)) = text.split_once('@') else { return invalid() };
    let forbidden = |c: char| c.is_whitespace() || c.is_control() || "@\"(),:;<>[\\]".contains(c);
    if local.is_empty()
        || local.len() > EMAIL_LOCAL_BYTES
        || text.chars().filter(|c| *c == '@').count() != 1
        || local.contains(forbidden)
        || domain.contains(forbidden)
        || domain.split('.').any(str::is_empty)
    {
        return invalid();
    }
    Ok(format!("{local}@{}", domain.to_lowercase()))
}

/// Surrounding white space is dropped.
pub(crate) fn name(text: &str) -> Result<String, FieldError> {
    let text = text.trim();
    let refuse = |code, message| Err(FieldError::new("name", code, message));
    if text.is_empty() {
        return refuse("required", "must not be empty");
    }
    if text.chars().count() > NAME_CHARS {
        return refuse("too_long", "must be at most 200 characters");
    }
    if text.contains(char::is_control) {
        return refuse("invalid", "must not contain control characters");
    }
    Ok(text.to_owned())
}

/// E.164: a plus sign and at most 15 digits, the first not 0.
pub(crate) fn phone(text: &str) -> Result<String, FieldError> {
    let digits = text.strip_prefix('+').unwrap_or("");
    let plausible = (2..=15).contains(&digits.len())
        && digits.bytes().all(|byte| byte.is_ascii_digit())
        && !digits.starts_with('0');
    if plausible {
        Ok(text.to_owned())
    } else {
        Err(FieldError::new("phone", "invalid", "must be in international form such as +41441234567"))
    }
}

fn role(text: &str) -> Result<Role, FieldError> {
    Role::parse(text).ok_or(FieldError::new("role", "unknown", "must be user or admin"))
}

const DEFAULT_PAGE: usize = 20;
const LARGEST_PAGE: usize = 100;

/// The size of a page as the client wrote it.
pub(crate) fn page_limit(text: Option<&str>) -> Result<usize, FieldError> {
    text.map_or(Ok(DEFAULT_PAGE), |text| match text.parse() {
        Ok(limit) if (1..=LARGEST_PAGE).contains(&limit) => Ok(limit),
        _ => Err(FieldError::new("limit", "invalid", "must be a number from 1 to 100")),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn problems<T>(result: Result<T, Error>) -> Vec<(String, &'static str)> {
        match result {
            Err(Error::Invalid(problems)) => problems.iter().map(|p| (p.field.to_string(), p.code)).collect(),
            Err(other) => panic!("{other}"),
            Ok(_) => Vec::new(),
        }
    }

    fn at(expected: &[(&str, &'static str)]) -> Vec<(String, &'static str)> {
        expected.iter().map(|(field, code)| ((*field).to_owned(), *code)).collect()
    }

    #[test]
    fn all_problems_of_a_creation_are_reported_at_once() {
        let empty = NewUserInput::default();
        assert_eq!(problems(empty.check()), at(&[("email", "required"), ("name", "required")]));
        let wrong: NewUserInput =
            serde_json::from_str(r#"{"email":"nobody","name":" ","phone":"0441234567","role":"king"}"#)
                .unwrap();
        assert_eq!(
            problems(wrong.check()),
            at(&[("email", "invalid"), ("name", "required"), ("phone", "invalid"), ("role", "unknown")])
        );
    }

    #[test]
    fn a_change_tells_null_from_absent() {
        let parse = |json| serde_json::from_str::<UserPatchInput>(json).unwrap().check();
        assert_eq!(parse("{}").unwrap(), UserPatch::default());
        assert_eq!(parse(r#"{"phone":null}"#).unwrap().phone, Some(None));
        assert_eq!(
            parse(r#"{"phone":"+41441234567"}"#).unwrap().phone,
            Some(Some("+41441234567".to_owned()))
        );
        assert_eq!(
            problems(parse(r#"{"email":null,"name":null,"phone":"1","role":null}"#)),
            at(&[("email", "required"), ("name", "required"), ("phone", "invalid"), ("role", "required")])
        );
    }

    #[test]
    fn unknown_fields_and_wrong_types_are_refused_with_the_rest() {
        let new: NewUserInput =
            serde_json::from_str(r#"{"email":5,"name":null,"role":["king"],"admin":true}"#).unwrap();
        assert_eq!(
            problems(new.check()),
            at(&[("email", "type"), ("name", "required"), ("role", "type"), ("admin", "unknown")])
        );
        let patch: UserPatchInput = serde_json::from_str(r#"{"version":7,"phone":{}}"#).unwrap();
        assert_eq!(problems(patch.check()), at(&[("phone", "type"), ("version", "unknown")]));
        let flood = (0..1000).map(|n| format!(r#""{}{n}":1"#, "é".repeat(100))).collect::<Vec<_>>().join(",");
        let patch: UserPatchInput = serde_json::from_str(&format!("{{{flood}}}")).unwrap();
        assert_eq!(problems(patch.check()).len(), UNKNOWN_NAMED);
    }

    #[test]
    fn a_body_that_is_no_object_is_refused() {
        for body in ["[]", r#"["a@b","Ada"]"#, "7", "null"] {
            let error = serde_json::from_str::<NewUserInput>(body).unwrap_err().to_string();
            assert!(error.contains("a JSON object"), "{error}");
            assert!(serde_json::from_str::<UserPatchInput>(body).is_err(), "{body}");
        }
    }

    #[test]
    fn an_email_is_sane_and_its_domain_in_lower_case() {
        assert_eq!(email("Ada.Lovelace+x@EXAMPLE.Com").unwrap(), "Ada.Lovelace+x@example.com");
        assert_eq!(email("root@localhost").unwrap(), "root@localhost");
        assert_eq!(email("用户@例え.jp").unwrap(), "用户@例え.jp");
        for bad in [
            "",
            "@",
            "a@",
            "@b",
            "a@b@c",
            "a b@c",
            "a@b c",
            "a@b\n",
            "a\0@b",
            "a@.b",
            "a@b.",
            "a@b..c",
            "<a@b>",
            "a,b@c",
            "\"a\"@b",
            "a@[1.2.3.4]",
            "a\u{a0}@b",
        ] {
            assert_eq!(email(bad).unwrap_err().code, "invalid", "{bad:?}");
        }
        assert_eq!(email(&format!("{}@b", "a".repeat(65))).unwrap_err().code, "invalid");
        let longest = format!("a@{}", "b".repeat(252));
        assert!(email(&longest).is_ok());
        assert_eq!(email(&format!("{longest}b")).unwrap_err().code, "too_long");
    }

    #[test]
    fn a_name_has_1_to_200_characters_and_no_control_characters() {
        assert_eq!(name("  Ada  ").unwrap(), "Ada");
        assert!(name(&"é".repeat(200)).is_ok());
        assert_eq!(name(&"é".repeat(201)).unwrap_err().code, "too_long");
        assert_eq!(name("\t").unwrap_err().code, "required");
        assert_eq!(name("a\u{1b}[31m").unwrap_err().code, "invalid");
        assert_eq!(name("a\r\nb").unwrap_err().code, "invalid");
    }

    #[test]
    fn a_phone_number_is_e164() {
        for good in ["+41441234567", "+12", "+123456789012345"] {
            assert_eq!(phone(good).unwrap(), good);
        }
        for bad in
            ["", "+", "+1", "41441234567", "+0441234567", "+1234567890123456", "+41 44 123", "+41a", "++41"]
        {
            assert!(phone(bad).is_err(), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn no_input_panics_and_what_is_accepted_is_accepted_again_unchanged(
            email_text in "\\PC{0,20}@?\\PC{0,20}",
            name_text in any::<String>(),
        ) {
            if let Ok(once) = email(&email_text) {
                prop_assert_eq!(email(&once).unwrap(), once);
            }
            if let Ok(once) = name(&name_text) {
                prop_assert_eq!(name(&once).unwrap(), once);
            }
        }
    }
}
