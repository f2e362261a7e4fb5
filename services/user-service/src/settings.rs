//! `[users]`, `[avatar]` and `[admin]`: the settings of the service's own.

use std::time::Duration;

use mainstay::client::Url;
use mainstay::config::{Checks, Field, Kind, Section, millis};
use mainstay::secret::Secret;
use serde::{Deserialize, Serialize};

/// When deleted users are removed for good.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Users {
    /// `USERS_PURGE_AFTER`
    #[serde(with = "millis")]
    pub(crate) purge_after: Duration,
    /// `USERS_PURGE_INTERVAL`
    #[serde(with = "millis")]
    pub(crate) purge_interval: Duration,
}

impl Section for Users {
    const NAME: &'static str = "users";
    const FIELDS: &'static [Field] = &[
        Field::new("purge_after", Kind::DURATION, "How long a deleted user is kept")
            .env(&["USERS_PURGE_AFTER"])
            .default("30d"),
        Field::new("purge_interval", Kind::PERIOD, "Pause between two purges of deleted users")
            .env(&["USERS_PURGE_INTERVAL"])
            .default("1h"),
    ];
}

/// Where pictures of users come from.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Avatar {
    /// `AVATAR_URL`
    pub(crate) url: Option<String>,
    /// `AVATAR_PRIVATE`
    pub(crate) private: bool,
}

impl Section for Avatar {
    const NAME: &'static str = "avatar";
    const FIELDS: &'static [Field] = &[
        Field::new(
            "url",
            Kind::Text,
            "A service that has a picture at <url>/<id of the user>; unset: all are drawn",
        )
        .env(&["AVATAR_URL"])
        .check("a URL such as https://avatars.example.org/of", is_web_address)
        .restart_only(),
        Field::new(
            "private",
            Kind::Bool,
            "Whether it may lie in a private network; in development it may anyway",
        )
        .env(&["AVATAR_PRIVATE"])
        .default("false")
        .restart_only(),
    ];
}

/// Who may sign in first.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Admin {
    /// `ADMIN_EMAIL`
    pub(crate) email: Option<String>,
    /// `ADMIN_PASSWORD`
    pub(crate) password: Option<Secret<String>>,
}

impl Section for Admin {
    const NAME: &'static str = "admin";
    const FIELDS: &'static [Field] = &[
        Field::new(
            "email",
            Kind::Text,
            "Address of the first administrator, who is created or given the password if there is none",
        )
        .env(&["ADMIN_EMAIL"])
        .restart_only(),
        Field::new(
            "password",
            Kind::Secret,
            "The password, of 8 characters or more; to be changed after the first sign-in",
        )
        .env(&["ADMIN_PASSWORD"])
        .restart_only(),
    ];

    fn validate(&self, checks: &mut Checks<'_>) {
        if self.email.is_some() != self.password.is_some() {
            checks.refuse(&["email", "password"], "come together: set both or none");
        }
    }
}

fn is_web_address(text: &str) -> bool {
    // A password in it would be shown with the settings.
    let anonymous = |url: &Url| url.username().is_empty() && url.password().is_none();
    text.parse::<Url>()
        .is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host() && anonymous(&url))
}

#[cfg(test)]
mod tests {
    use mainstay::config::disagreements;

    use super::*;

    #[test]
    fn an_address_is_that_of_a_host_and_has_no_password() {
        assert!(is_web_address("https://avatars.example.org/of"));
        for wrong in ["avatars", "ftp://a/", "https://", "https://me@a/", "https://me:secret@a/"] {
            assert!(!is_web_address(wrong), "{wrong}");
        }
    }

    #[test]
    fn the_table_fits_the_type() {
        assert_eq!(disagreements::<Users>(), Vec::<String>::new());
        assert_eq!(disagreements::<Avatar>(), Vec::<String>::new());
        assert_eq!(disagreements::<Admin>(), Vec::<String>::new());
    }
}
