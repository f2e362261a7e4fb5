//! The first administrator: somebody has to make the others.

use std::sync::Arc;

use mainstay::auth::password::{self, Passwords};
use mainstay::config::{Config, Environment, Server};
use mainstay::secret::Secret;

use super::AccountStore;
use crate::settings;
use crate::users::{self, NewUser, Role, check};

/// Who may sign in first in development, where no other is configured.
const IN_DEVELOPMENT: &str = "ada@example.com";

/// Makes sure at the start that an administrator can sign in. An account that has a password is left as it is:
/// configuration does not undo what its owner did.
pub(crate) struct FirstAdministrator {
    pub(crate) store: Arc<dyn AccountStore>,
    pub(crate) passwords: Passwords,
    pub(crate) config: Config,
}

/// Why there is none.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("ADMIN_EMAIL {0}")]
    Email(&'static str),
    #[error("ADMIN_PASSWORD: {0}")]
    Password(#[from] password::Unfit),
    #[error(transparent)]
    Hash(#[from] password::Error),
    #[error(transparent)]
    Store(#[from] users::Error),
}

impl FirstAdministrator {
    pub(crate) async fn appoint(&self) -> Result<(), Error> {
        let settings = self.config.get::<settings::Admin>();
        match (&settings.email, &settings.password) {
            (Some(email), Some(password)) => {
                self.enable(email, password.clone()).await?;
                self.warn("ADMIN_EMAIL is the address of a user who is none").await
            }
            _ if self.config.get::<Server>().env == Environment::Development => self.invent().await,
            _ => self.warn("set ADMIN_EMAIL and ADMIN_PASSWORD").await,
        }
    }

    /// A password that is shown once and kept nowhere.
    async fn invent(&self) -> Result<(), Error> {
        if self.store.has(Role::Admin).await? {
            return Ok(());
        }
        let password = password::random();
        if self.enable(IN_DEVELOPMENT, password.clone()).await? {
            #[expect(
                clippy::print_stderr,
                reason = "for the person at the terminal, not for a log that is kept"
            )]
            {
                eprintln!("First administrator: {IN_DEVELOPMENT} with the password {}", password.expose());
            }
        }
        Ok(())
    }

    async fn warn(&self, why: &str) -> Result<(), Error> {
        if !self.store.has(Role::Admin).await? {
            tracing::warn!("no administrator can sign in: {why}");
        }
        Ok(())
    }

    /// Answers whether the account can be signed into with this password now. Instances that start together do not
    /// get in each other's way: one of them is first.
    async fn enable(&self, email: &str, password: Secret<String>) -> Result<bool, Error> {
        let email = check::email(email).map_err(|problem| Error::Email(problem.message))?;
        password::Policy::default().check(&password)?;
        if let Some(account) = self.store.by_email(&email).await? {
            // Whoever registered the address first is not made an administrator by it.
            if account.password.is_some() || account.role != Role::Admin {
                return Ok(false);
            }
            let hash = self.passwords.hash(password).await?;
            return Ok(self.store.set_password(&account.id, None, &hash).await?);
        }
        let name = "Administrator".to_owned();
        let user = NewUser { email, name, phone: None, role: Role::Admin }.into_user();
        let hash = self.passwords.hash(password).await?;
        match self.store.register(user, &hash).await {
            Ok(_) => Ok(true),
            Err(users::Error::EmailTaken) => Ok(false),
            Err(other) => Err(other.into()),
        }
    }
}
