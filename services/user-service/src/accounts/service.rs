//! What one can do with an account.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use mainstay::auth::Principal;
use mainstay::auth::password::{Passwords, Verdict};
use mainstay::auth::seal::Sealer;
use mainstay::auth::session::{self, Session, Sessions};
use mainstay::auth::token::{Issuer, NewClaims};
use mainstay::event::Events;
use mainstay::rate_limit::{Charge, Quota, RateLimiter};
use mainstay::secret::Secret;

use super::event::{self, AccountEvent};
use super::store::{Account, AccountStore};
use super::{Error, LoginInput, PasswordInput, RefreshInput, RegisterInput, Revoker};
use crate::users::{self, Role, User, UserService, email_key};

/// Attempts to sign in, in a quarter of an hour: of one address at one account, at one account from anywhere, and of
/// one address at all accounts. The first stops who guesses; that he does, at ten times as much, the owner.
const WINDOW: Duration = Duration::from_secs(900);
const GUESSES: u32 = 10;
const PER_ACCOUNT: u32 = 100;
const PER_CLIENT: u32 = 100;

const LONGEST_EMAIL: usize = 254;

/// Signing in and out, and what belongs to it. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Accounts(Arc<Parts>);

/// What it is made of.
pub(crate) struct Parts {
    pub(crate) store: Arc<dyn AccountStore>,
    pub(crate) users: UserService,
    pub(crate) passwords: Passwords,
    pub(crate) sessions: Sessions,
    pub(crate) issuer: Issuer,
    pub(crate) sealer: Sealer,
    pub(crate) revoker: Arc<Revoker>,
    pub(crate) limiter: RateLimiter,
    pub(crate) events: Events,
}

/// Where an attempt comes from.
#[derive(Clone, Debug)]
pub(crate) struct Origin {
    /// What limits count: the address, or the /64 of one.
    pub(crate) client: String,
    /// What the client says it is, for the list of sessions.
    pub(crate) agent: Option<String>,
}

/// For the list of one's sessions.
impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}", self.agent.as_deref().unwrap_or("unnamed client"), self.client)
    }
}

/// What a sign-in or a refresh gives.
#[derive(Debug)]
pub(crate) struct Tokens {
    pub(crate) access: Secret<String>,
    pub(crate) refresh: Secret<String>,
    pub(crate) expires_in: Duration,
}

impl Accounts {
    pub(crate) fn new(parts: Parts) -> Self {
        Self(Arc::new(parts))
    }

    /// Creates a user who can sign in. That an address is taken is told: whoever registers it would find out anyway.
    ///
    /// # Errors
    /// [`users::Error::Invalid`], [`users::Error::EmailTaken`], [`Error::TooMany`].
    pub(crate) async fn register(&self, input: RegisterInput, caller: &Origin) -> Result<User, Error> {
        let registration = input.check()?;
        let client = format!("register:client:{}", caller.client);
        self.admit(&[Charge::new(&client, quota(PER_CLIENT))]).await?;
        let hash = self.0.passwords.hash(registration.password).await?;
        Ok(self.0.store.register(registration.user.into_user(), &hash).await?)
    }

    /// Opens a session for who knows the password.
    ///
    /// # Errors
    /// [`Error::NotRecognised`], the same and after the same time for every reason; [`Error::TooMany`].
    pub(crate) async fn login(&self, input: LoginInput, caller: &Origin) -> Result<Tokens, Error> {
        let (email, password) = input.check()?;
        // Longer than any that is kept.
        if email.len() > LONGEST_EMAIL {
            return Err(Error::NotRecognised);
        }
        // The store of the limits need not know who signs in.
        let key = self.0.sealer.blind_index("login", email_key(&email).as_bytes());
        let guesses = format!("login:{key}:{}", caller.client);
        let (account, client) = (format!("login:account:{key}"), format!("login:client:{}", caller.client));
        self.admit(&[
            Charge::new(&guesses, quota(GUESSES)),
            Charge::new(&account, quota(PER_ACCOUNT)),
            Charge::new(&client, quota(PER_CLIENT)),
        ])
        .await?;
        let account = self.0.store.by_email(&email).await?;
        let kept = account.as_ref().and_then(|account| account.password.as_deref());
        match (self.0.passwords.verify(password.clone(), kept).await?, account) {
            (Verdict::Right { rehash }, Some(account)) => {
                if rehash {
                    self.rehash(&account, password).await;
                }
                let tokens = self.open(&account, caller).await?;
                self.announce(event::SIGNED_IN, &account.id, account.version).await;
                Ok(tokens)
            }
            (_, account) => {
                if let Some(account) = account {
                    self.announce(event::REFUSED, &account.id, account.version).await;
                }
                Err(Error::NotRecognised)
            }
        }
    }

    /// New tokens for a refresh token, which is worth nothing afterwards.
    ///
    /// # Errors
    /// [`Error::NotRecognised`].
    pub(crate) async fn refresh(&self, input: RefreshInput) -> Result<Tokens, Error> {
        let refreshed = match self.0.sessions.refresh(input.check()?.expose()).await {
            Ok(refreshed) => refreshed,
            Err(session::Error::Reused { subject, .. }) => {
                if let Ok(Some(account)) = self.0.store.by_id(&subject).await {
                    self.announce(event::TOKEN_REUSED, &account.id, account.version).await;
                }
                return Err(Error::NotRecognised);
            }
            Err(session::Error::Invalid | session::Error::Elsewhere) => return Err(Error::NotRecognised),
            Err(error) => return Err(error.into()),
        };
        let Some(account) = self.0.store.by_id(&refreshed.subject).await? else {
            self.0.revoker.sign_out_everywhere(&refreshed.subject).await;
            return Err(Error::NotRecognised);
        };
        self.tokens(&account, &refreshed.session, refreshed.refresh)
    }

    /// Ends the caller's session.
    ///
    /// # Errors
    /// [`Error::Session`].
    pub(crate) async fn logout(&self, caller: &Principal) -> Result<(), Error> {
        if let Some(session) = caller.session() {
            self.0.sessions.revoke_own(caller.subject(), session).await?;
        }
        if let Some(account) = self.0.store.by_id(caller.subject()).await? {
            self.announce(event::SIGNED_OUT, &account.id, account.version).await;
        }
        Ok(())
    }

    /// The caller as a user.
    ///
    /// # Errors
    /// [`Error::NotRecognised`] for a user who was deleted meanwhile.
    pub(crate) async fn me(&self, caller: &Principal) -> Result<User, Error> {
        match self.0.users.get(caller.subject()).await {
            Err(users::Error::NotFound) => Err(Error::NotRecognised),
            other => Ok(other?),
        }
    }

    /// Replaces the password and ends every session; answers the tokens of a new one.
    ///
    /// # Errors
    /// [`Error::NotRecognised`] if the current one is wrong; [`Error::TooMany`].
    pub(crate) async fn change_password(
        &self,
        caller: &Principal,
        input: PasswordInput,
        from: &Origin,
    ) -> Result<Tokens, Error> {
        let (current, new) = input.check()?;
        let attempts = format!("password:{}", caller.subject());
        self.admit(&[Charge::new(&attempts, quota(GUESSES))]).await?;
        let account = self.0.store.by_id(caller.subject()).await?.ok_or(Error::NotRecognised)?;
        let before = account.password.as_deref();
        if !matches!(self.0.passwords.verify(current, before).await?, Verdict::Right { .. }) {
            self.announce(event::REFUSED, &account.id, account.version).await;
            return Err(Error::NotRecognised);
        }
        let hash = self.0.passwords.hash(new).await?;
        if !self.0.store.set_password(&account.id, before, &hash).await? {
            // Another change came first: the current one is not current any more.
            return Err(Error::NotRecognised);
        }
        self.0.revoker.sign_out_everywhere(&account.id).await;
        self.announce(event::PASSWORD_CHANGED, &account.id, account.version).await;
        self.open(&account, from).await
    }

    /// The caller's open sessions, the newest first.
    ///
    /// # Errors
    /// [`Error::Session`].
    pub(crate) async fn sessions(&self, caller: &Principal) -> Result<Vec<Session>, Error> {
        Ok(self.0.sessions.list(caller.subject()).await?)
    }

    /// Ends one of the caller's sessions, with the tokens that were issued in it.
    ///
    /// # Errors
    /// [`Error::NoSuchSession`].
    pub(crate) async fn end_session(&self, caller: &Principal, session: &str) -> Result<(), Error> {
        if self.0.sessions.revoke_own(caller.subject(), session).await? {
            Ok(())
        } else {
            Err(Error::NoSuchSession)
        }
    }

    async fn open(&self, account: &Account, caller: &Origin) -> Result<Tokens, Error> {
        let opened = self.0.sessions.open(&account.id, &caller.to_string()).await?;
        self.tokens(account, &opened.session_id, opened.refresh)
    }

    fn tokens(&self, account: &Account, session: &str, refresh: Secret<String>) -> Result<Tokens, Error> {
        let issued = self.0.issuer.issue(&NewClaims {
            subject: account.id.clone(),
            roles: vec![account.role.as_str().to_owned()],
            session: Some(session.to_owned()),
        })?;
        let left = issued.expires.duration_since(Timestamp::now());
        Ok(Tokens { access: issued.token, refresh, expires_in: left.try_into().unwrap_or_default() })
    }

    async fn admit(&self, charges: &[Charge<'_>]) -> Result<(), Error> {
        let decisions = self.0.limiter.check_all(charges).await?;
        if decisions.allowed() {
            return Ok(());
        }
        let retry_after = decisions.tightest().and_then(|decision| decision.retry_after).unwrap_or(WINDOW);
        Err(Error::TooMany { retry_after })
    }

    /// With the parameters of today. The old hash serves on if this fails.
    async fn rehash(&self, account: &Account, password: Secret<String>) {
        let Ok(hash) = self.0.passwords.hash(password).await else { return };
        if let Err(error) = self.0.store.set_password(&account.id, account.password.as_deref(), &hash).await {
            tracing::debug!(%error, user = account.id, "password not hashed anew");
        }
    }

    /// What happened has happened: if it cannot be published, the log has it.
    async fn announce(&self, kind: &'static str, user: &str, version: i64) {
        tracing::info!(target: "mainstay::audit", user, event = kind);
        let data = AccountEvent { id: user.to_owned(), version };
        let event = self.0.events.event(kind).subject(format!("user/{user}"));
        if let Err(error) = event.publish(&data).await {
            tracing::warn!(%error, user, event = kind, "not in the trail");
        }
    }
}

fn quota(most: u32) -> Quota {
    Quota::new(most, WINDOW).named("sign-in")
}

/// The roles of this service and what they permit. What is a user's own needs no permission.
pub(crate) fn roles() -> mainstay::auth::role::Roles {
    mainstay::auth::role::Roles::builder()
        .role(Role::User.as_str(), [])
        .role(Role::Admin.as_str(), ["users:read", "users:write", "mainstay:read", "mainstay:write"])
        .inherits(Role::Admin.as_str(), Role::User.as_str())
        .build()
        .expect("these roles fit together")
}
