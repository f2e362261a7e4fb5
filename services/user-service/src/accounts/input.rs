//! What clients send. Passwords and tokens become secrets while they are read, so that nothing prints them.

use std::collections::BTreeMap;

use mainstay::auth::password;
use mainstay::openapi::{ToSchema, utoipa};
use mainstay::secret::Secret;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use crate::users::{Error, FieldError, NewUser, Problems, Role, check, given};

/// The body of a registration.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(default, expecting = "a JSON object")]
pub(crate) struct RegisterInput {
    #[serde(deserialize_with = "given")]
    #[schema(value_type = String, required)]
    email: Option<Value>,
    #[serde(deserialize_with = "given")]
    #[schema(value_type = String, required)]
    name: Option<Value>,
    #[serde(deserialize_with = "given")]
    #[schema(value_type = Option<String>)]
    phone: Option<Value>,
    /// 8 to 128 characters.
    #[serde(deserialize_with = "secret")]
    #[schema(value_type = String, format = Password, required)]
    password: Option<Secret<String>>,
    #[serde(flatten)]
    #[schema(ignore)]
    unknown: BTreeMap<String, Value>,
}

/// The body of a sign-in.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(default, expecting = "a JSON object")]
pub(crate) struct LoginInput {
    #[serde(deserialize_with = "given")]
    #[schema(value_type = String, required)]
    email: Option<Value>,
    #[serde(deserialize_with = "secret")]
    #[schema(value_type = String, format = Password, required)]
    password: Option<Secret<String>>,
    #[serde(flatten)]
    #[schema(ignore)]
    unknown: BTreeMap<String, Value>,
}

/// The body of a change of one's password.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(default, rename_all = "camelCase", expecting = "a JSON object")]
pub(crate) struct PasswordInput {
    #[serde(deserialize_with = "secret")]
    #[schema(value_type = String, format = Password, required)]
    current_password: Option<Secret<String>>,
    /// 8 to 128 characters.
    #[serde(deserialize_with = "secret")]
    #[schema(value_type = String, format = Password, required)]
    new_password: Option<Secret<String>>,
    #[serde(flatten)]
    #[schema(ignore)]
    unknown: BTreeMap<String, Value>,
}

/// The body of a refresh.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(default, rename_all = "camelCase", expecting = "a JSON object")]
pub(crate) struct RefreshInput {
    #[serde(deserialize_with = "secret")]
    #[schema(value_type = String, required)]
    refresh_token: Option<Secret<String>>,
    #[serde(flatten)]
    #[schema(ignore)]
    unknown: BTreeMap<String, Value>,
}

/// Whatever is no text reads as absent: its value must not get into an error.
fn secret<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Secret<String>>, D::Error> {
    Ok(match Value::deserialize(deserializer)? {
        Value::String(text) => Some(Secret::new(text)),
        _ => None,
    })
}

pub(super) const TOO_SHORT: &str = "must be at least 8 characters";

/// A registration that the domain accepts.
pub(super) struct Registration {
    pub(super) user: NewUser,
    pub(super) password: Secret<String>,
}

impl RegisterInput {
    /// # Errors
    /// [`Error::Invalid`] with every problem.
    pub(super) fn check(self) -> Result<Registration, Error> {
        let mut problems = Problems::default();
        let email = problems.required("email", self.email.unwrap_or_default(), check::email);
        let name = problems.required("name", self.name.unwrap_or_default(), check::name);
        let phone = problems.optional("phone", self.phone.unwrap_or_default(), check::phone);
        let password = new_password(&mut problems, "password", self.password);
        problems.refuse_all(self.unknown);
        match (email, name, password) {
            (Some(email), Some(name), Some(password)) if problems.is_empty() => {
                // Whoever registers is a user: nobody makes himself an administrator.
                Ok(Registration { user: NewUser { email, name, phone, role: Role::User }, password })
            }
            _ => Err(problems.into_error()),
        }
    }
}

impl LoginInput {
    /// The address as it was given, and the password: whether they could be any is not told from wrong ones.
    ///
    /// # Errors
    /// [`Error::Invalid`] if one of them is missing.
    pub(super) fn check(self) -> Result<(String, Secret<String>), Error> {
        let mut problems = Problems::default();
        let email = problems.required("email", self.email.unwrap_or_default(), |text| Ok(text.to_owned()));
        let password = problems.present("password", self.password);
        problems.refuse_all(self.unknown);
        match (email, password) {
            (Some(email), Some(password)) if problems.is_empty() => Ok((email, password)),
            _ => Err(problems.into_error()),
        }
    }
}

impl PasswordInput {
    /// The current password and the new one.
    ///
    /// # Errors
    /// [`Error::Invalid`] with every problem.
    pub(super) fn check(self) -> Result<(Secret<String>, Secret<String>), Error> {
        let mut problems = Problems::default();
        let current = problems.present("currentPassword", self.current_password);
        let new = new_password(&mut problems, "newPassword", self.new_password);
        problems.refuse_all(self.unknown);
        match (current, new) {
            (Some(current), Some(new)) if problems.is_empty() => Ok((current, new)),
            _ => Err(problems.into_error()),
        }
    }
}

impl RefreshInput {
    /// # Errors
    /// [`Error::Invalid`] if there is none.
    pub(super) fn check(self) -> Result<Secret<String>, Error> {
        let mut problems = Problems::default();
        let token = problems.present("refreshToken", self.refresh_token);
        problems.refuse_all(self.unknown);
        match token {
            Some(token) if problems.is_empty() => Ok(token),
            _ => Err(problems.into_error()),
        }
    }
}

fn new_password(
    problems: &mut Problems,
    field: &'static str,
    password: Option<Secret<String>>,
) -> Option<Secret<String>> {
    let password = problems.present(field, password)?;
    let Err(unfit) = password::Policy::default().check(&password) else { return Some(password) };
    problems.add(match unfit {
        password::Unfit::TooShort { .. } => FieldError::new(field, "too_short", TOO_SHORT),
        _ => FieldError::new(field, "too_long", "must be at most 128 characters"),
    });
    None
}
