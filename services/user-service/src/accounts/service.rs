//! What one can do with an account.

use std::fmt;
use std::ops::Deref;
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
use mainstay::task::Overrun;

use super::event::{self, AccountEvent};
use super::store::{Account, AccountStore};
use super::{Error, LoginInput, PasswordInput, RefreshInput, RegisterInput, Revoker};
use crate::to_its_end::ToItsEnd;
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
pub(crate) struct Accounts {
    parts: Arc<Parts>,
    work: ToItsEnd,
}

impl Deref for Accounts {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.parts
    }
}

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
        Self { parts: Arc::new(parts), work: ToItsEnd::default() }
    }

    /// Creates a user who can sign in. That an address is taken is told: whoever registers it would find out anyway.
    ///
    /// # Errors
    /// [`users::Error::Invalid`], [`users::Error::EmailTaken`], [`Error::TooMany`].
    pub(crate) async fn register(&self, input: RegisterInput, caller: &Origin) -> Result<User, Error> {
        let registration = input.check()?;
        let client = format!("register:client:{}", caller.client);
        self.admit(&[Charge::new(&client, quota(PER_CLIENT))]).await?;
        let hash = self.passwords.hash(registration.password).await?;
        Ok(self.store.register(registration.user.into_user(), &hash).await?)
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
        let key = self.sealer.blind_index("login", email_key(&email).as_bytes());
        let guesses = format!("login:{key}:{}", caller.client);
        let (account, client) = (format!("login:account:{key}"), format!("login:client:{}", caller.client));
        self.admit(&[
            Charge::new(&guesses, quota(GUESSES)),
            Charge::new(&account, quota(PER_ACCOUNT)),
            Charge::new(&client, quota(PER_CLIENT)),
        ])
        .await?;
        let account = self.store.by_email(&email).await?;
        let kept = account.as_ref().and_then(|account| account.password.as_deref());
        match (self.passwords.verify(password.clone(), kept).await?, account) {
            (Verdict::Right { rehash }, Some(account)) => {
                let tokens = self.open(&account, &password, caller).await?;
                if rehash {
                    self.rehash(&account, password).await;
                }
                self.announce(event::SIGNED_IN, &account).await;
                Ok(tokens)
            }
            (_, account) => {
                if let Some(account) = account {
                    // Beside the answer, which must not tell by its time that there is such an account.
                    let own = self.clone();
                    let announced = async move { own.announce(event::REFUSED, &account).await };
                    self.work.start("sign-in refused", announced);
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
        let as_of = Timestamp::now();
        let refreshed = match self.sessions.refresh(input.check()?.expose()).await {
            Ok(refreshed) => refreshed,
            Err(session::Error::Reused { subject, .. }) => {
                if let Ok(Some(account)) = self.store.by_id(&subject).await {
                    self.announce(event::TOKEN_REUSED, &account).await;
                }
                return Err(Error::NotRecognised);
            }
            Err(session::Error::Invalid | session::Error::Elsewhere) => return Err(Error::NotRecognised),
            Err(error) => return Err(error.into()),
        };
        let Some(account) = self.store.by_id(&refreshed.subject).await? else {
            self.revoker.sign_out_everywhere(&refreshed.subject).await;
            return Err(Error::NotRecognised);
        };
        self.tokens(&account, &refreshed.session, refreshed.refresh, as_of)
    }

    /// Ends the caller's session.
    ///
    /// # Errors
    /// [`Error::Session`].
    pub(crate) async fn logout(&self, caller: &Principal) -> Result<(), Error> {
        let (own, caller) = (self.clone(), caller.clone());
        let end = async move {
            if let Some(session) = caller.session() {
                // Also where the session is gone already: what ended it may not have reached its access tokens.
                own.sessions.revoke(session).await?;
            }
            own.announce_sign_out(caller.subject()).await
        };
        self.work.run("sign-out", end).await
    }

    /// The caller as a user.
    ///
    /// # Errors
    /// [`Error::NotRecognised`] for a user who was deleted meanwhile.
    pub(crate) async fn me(&self, caller: &Principal) -> Result<User, Error> {
        match self.users.get(caller.subject()).await {
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
        let account = self.store.by_id(caller.subject()).await?.ok_or(Error::NotRecognised)?;
        let before = account.password.as_deref();
        if !matches!(self.passwords.verify(current, before).await?, Verdict::Right { .. }) {
            self.announce(event::REFUSED, &account).await;
            return Err(Error::NotRecognised);
        }
        let hash = self.passwords.hash(new.clone()).await?;
        let (own, from) = (self.clone(), from.clone());
        // Who hangs up has a new password and no old session all the same.
        let change = async move { own.replace_password(account, hash, &new, &from).await };
        self.work.run("password change", change).await
    }

    async fn replace_password(
        &self,
        account: Account,
        hash: String,
        password: &Secret<String>,
        from: &Origin,
    ) -> Result<Tokens, Error> {
        if !self.store.set_password(&account.id, account.password.as_deref(), &hash).await? {
            // Another change came first: the current one is not current any more.
            return Err(Error::NotRecognised);
        }
        self.revoker.sign_out_everywhere(&account.id).await;
        self.announce(event::PASSWORD_CHANGED, &account).await;
        self.open(&Account { password: Some(hash), ..account }, password, from).await
    }

    /// The caller's open sessions, the newest first.
    ///
    /// # Errors
    /// [`Error::Session`].
    pub(crate) async fn sessions(&self, caller: &Principal) -> Result<Vec<Session>, Error> {
        Ok(self.sessions.list(caller.subject()).await?)
    }

    /// Ends one of the caller's sessions, with the tokens that were issued in it.
    ///
    /// # Errors
    /// [`Error::NoSuchSession`].
    pub(crate) async fn end_session(&self, caller: &Principal, session: &str) -> Result<(), Error> {
        let (own, caller, session) = (self.clone(), caller.clone(), session.to_owned());
        let end = async move {
            if !own.sessions.revoke_own(caller.subject(), &session).await? {
                return Err(Error::NoSuchSession);
            }
            own.announce_sign_out(caller.subject()).await
        };
        self.work.run("session end", end).await
    }

    async fn announce_sign_out(&self, user: &str) -> Result<(), Error> {
        if let Some(account) = self.store.by_id(user).await? {
            self.announce(event::SIGNED_OUT, &account).await;
        }
        Ok(())
    }

    /// Opens a session for who proved to know the password, unless that was changed or the user deleted meanwhile:
    /// who ended all sessions then has not ended this one.
    async fn open(
        &self,
        proved: &Account,
        password: &Secret<String>,
        caller: &Origin,
    ) -> Result<Tokens, Error> {
        let opened = self.sessions.open(&proved.id, &caller.to_string()).await?;
        let as_of = Timestamp::now();
        let account = self.store.by_id(&proved.id).await?;
        match account {
            Some(account) if self.still_knows(&account, proved, password).await? => {
                self.tokens(&account, &opened.session_id, opened.refresh, as_of)
            }
            _ => {
                self.sessions.revoke_own(&proved.id, &opened.session_id).await?;
                Err(Error::NotRecognised)
            }
        }
    }

    /// The same password may be hashed anew at any time.
    async fn still_knows(
        &self,
        account: &Account,
        proved: &Account,
        password: &Secret<String>,
    ) -> Result<bool, Error> {
        if account.password == proved.password {
            return Ok(true);
        }
        let verdict = self.passwords.verify(password.clone(), account.password.as_deref()).await?;
        Ok(matches!(verdict, Verdict::Right { .. }))
    }

    /// `as_of`: before the account was read.
    fn tokens(
        &self,
        account: &Account,
        session: &str,
        refresh: Secret<String>,
        as_of: Timestamp,
    ) -> Result<Tokens, Error> {
        let claims = NewClaims {
            subject: account.id.clone(),
            roles: vec![account.role.as_str().to_owned()],
            session: Some(session.to_owned()),
        };
        let issued = self.issuer.issue_as_of(&claims, as_of)?;
        let left = issued.expires.duration_since(Timestamp::now());
        Ok(Tokens { access: issued.token, refresh, expires_in: left.try_into().unwrap_or_default() })
    }

    async fn admit(&self, charges: &[Charge<'_>]) -> Result<(), Error> {
        let decisions = self.limiter.check_all(charges).await?;
        if decisions.allowed() {
            return Ok(());
        }
        let retry_after = decisions.tightest().and_then(|decision| decision.retry_after).unwrap_or(WINDOW);
        Err(Error::TooMany { retry_after })
    }

    /// With the parameters of today. The old hash serves on if this fails.
    async fn rehash(&self, account: &Account, password: Secret<String>) {
        let Ok(hash) = self.passwords.hash(password).await else { return };
        if let Err(error) = self.store.set_password(&account.id, account.password.as_deref(), &hash).await {
            tracing::debug!(%error, user = account.id, "password not hashed anew");
        }
    }

    /// What happened has happened: if it cannot be published, the log has it.
    async fn announce(&self, kind: &'static str, account: &Account) {
        let user = &account.id;
        tracing::info!(target: "mainstay::audit", user, event = kind);
        let data = AccountEvent { id: user.clone(), version: account.version };
        let event = self.events.event(kind).subject(format!("user/{user}"));
        if let Err(error) = event.publish(&data).await {
            tracing::warn!(%error, user, event = kind, "not in the trail");
        }
    }

    /// Waits for what goes on although its callers are gone.
    pub(crate) async fn stop(&self) -> Result<(), Overrun> {
        self.work.stop().await
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
