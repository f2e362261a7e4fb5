use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use mainstay::auth::password::{self, Passwords};
use mainstay::auth::revocation::Revocations;
use mainstay::auth::seal::{KeyRing, Sealer};
use mainstay::auth::session::{SessionOptions, Sessions};
use mainstay::auth::token::{IssueOptions, Issuer, Key, KeySource, Keys, Verifier, VerifyOptions};
use mainstay::auth::{Authenticate, Authenticator, Refused};
use mainstay::cache::{self, Cache};
use mainstay::config::RevocationOutage;
use mainstay::event::{Event, Events};
use mainstay::metrics::Metrics;
use mainstay::rate_limit::{self, RateLimiter};
use mainstay::secret::Secret;
use mainstay::sql::Database;
use mainstay::sql::event::SqlEvents;
use mainstay::sql::session::SqlSessions;
use mainstay::time::Clock;
use mainstay_testkit::faulty::cache::FaultyStore;
use mainstay_testkit::faulty::{Fault, Faults};
use serde_json::json;
use tempfile::TempDir;
use tokio::sync::mpsc;

use super::event::AccountEvent;
use super::store::Account;
use super::*;
use crate::ground;
use crate::users::{self, NewUser, Role, SqlUserRepository, User, UserService};

const PASSWORD: &str = "correct horse battery";

/// What happens right after an account was read.
type Meanwhile = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Accounts that change between the moment they are read and what is made of it.
struct Overtaken {
    store: SqlAccountStore,
    meanwhile: Mutex<Option<Meanwhile>>,
}

impl Overtaken {
    async fn read(&self, account: Option<Account>) -> Result<Option<Account>, users::Error> {
        let meanwhile = self.meanwhile.lock().unwrap().take();
        if let Some(meanwhile) = meanwhile {
            meanwhile.await;
        }
        Ok(account)
    }
}

#[async_trait]
impl AccountStore for Overtaken {
    async fn register(&self, user: User, password: &str) -> Result<User, users::Error> {
        self.store.register(user, password).await
    }

    async fn by_email(&self, email: &str) -> Result<Option<Account>, users::Error> {
        self.read(self.store.by_email(email).await?).await
    }

    async fn by_id(&self, id: &str) -> Result<Option<Account>, users::Error> {
        self.read(self.store.by_id(id).await?).await
    }

    async fn set_password(&self, id: &str, before: Option<&str>, new: &str) -> Result<bool, users::Error> {
        self.store.set_password(id, before, new).await
    }

    async fn has(&self, role: Role) -> Result<bool, users::Error> {
        self.store.has(role).await
    }
}

struct Ground {
    accounts: Accounts,
    store: Arc<Overtaken>,
    revoker: Arc<Revoker>,
    sessions: Sessions,
    authenticator: Authenticator,
    /// Of what keeps the revocations.
    faults: Faults,
    ada: User,
    db: Database,
    _directory: TempDir,
}

impl Ground {
    async fn new() -> Self {
        let (db, directory) = ground::sqlite().await;
        let (metrics, clock) = (Metrics::new(), Clock::system());
        let mut patient = mainstay::event::Options::default();
        patient.op_timeout = Duration::from_secs(120);
        let store = SqlEvents::new(&db, mainstay::sql::event::Options::default(), clock.clone());
        let events = Events::new(Arc::new(store), patient, &metrics, clock.clone());
        let cache = Cache::in_memory(cache::Options::default(), &metrics, clock.clone());
        let (revoked, faults) =
            (cache::Memory::new(&cache::Options::default(), clock.clone()), Faults::none());
        let revoked = Arc::new(FaultyStore::new(Arc::new(revoked), faults.clone()));
        let hour = Duration::from_secs(3600);
        let revocations = Revocations::new(revoked, RevocationOutage::Refuse, hour, &metrics, clock.clone());
        let sessions = Sessions::new(
            Arc::new(SqlSessions::new(db.clone())),
            SessionOptions::default(),
            &metrics,
            clock.clone(),
        )
        .revoking(revocations.clone());
        let revoker = Arc::new(Revoker::new(sessions.clone(), revocations.clone()));
        let keys = Keys::signing(Key::random()).unwrap();
        let options = IssueOptions { issuer: "test".into(), audience: "test".into(), lifetime: hour };
        let rules = VerifyOptions::new("test", "test");
        let verifier = Verifier::new(KeySource::Own(keys.clone()), rules, &metrics, clock.clone()).unwrap();
        let mut quick = password::Options::default();
        (quick.memory_kib, quick.passes) = (8, 1);
        let store = SqlAccountStore::new(db.clone(), events.clone(), ground::vault());
        let store = Arc::new(Overtaken { store, meanwhile: Mutex::default() });
        let users = SqlUserRepository::new(db.clone(), events.clone(), ground::vault());
        let ring = KeyRing::parse(Some(&Secret::new("0e".repeat(32))), None).unwrap().unwrap();
        let accounts = Accounts::new(service::Parts {
            store: store.clone(),
            users: UserService::new(Arc::new(users), cache, ground::vault(), revoker.clone()),
            passwords: Passwords::new(quick),
            sessions: sessions.clone(),
            issuer: Issuer::new(&keys, options, clock.clone()).unwrap(),
            sealer: Sealer::new(&ring),
            revoker: revoker.clone(),
            limiter: RateLimiter::in_memory(rate_limit::Options::default(), &metrics, clock),
            events,
        });
        let authenticator = Authenticator::new(verifier, roles(), Some(revocations));
        let new =
            NewUser { email: "ada@example.org".into(), name: "Ada".into(), phone: None, role: Role::Admin };
        let hash = accounts.passwords.hash(Secret::new(PASSWORD.to_owned())).await.unwrap();
        let ada = store.register(new.into_user(), &hash).await.unwrap();
        Self { accounts, store, revoker, sessions, authenticator, faults, ada, db, _directory: directory }
    }

    /// Before anything is made of the next account that is read.
    fn meanwhile<F>(&self, change: impl FnOnce(Arc<Revoker>, Arc<Overtaken>, String) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let change = change(self.revoker.clone(), self.store.clone(), self.ada.id.clone());
        *self.store.meanwhile.lock().unwrap() = Some(Box::pin(change));
    }

    async fn login(&self) -> Result<Tokens, Error> {
        self.login_with(PASSWORD).await
    }

    async fn login_with(&self, password: &str) -> Result<Tokens, Error> {
        let input = json!({"email": "ada@example.org", "password": password});
        let from = Origin { client: "192.0.2.1".to_owned(), agent: None };
        self.accounts.login(serde_json::from_value(input).unwrap(), &from).await
    }

    async fn refresh(&self, tokens: &Tokens) -> Result<Tokens, Error> {
        let input = json!({"refreshToken": tokens.refresh.expose()});
        self.accounts.refresh(serde_json::from_value(input).unwrap()).await
    }

    async fn is_good(&self, tokens: &Tokens) -> bool {
        match self.authenticator.authenticate(tokens.access.expose()).await {
            Ok(_) => true,
            Err(Refused::Invalid) => false,
            Err(other) => panic!("{other}"),
        }
    }
}

/// Another password, and an end to everything that was opened with the one before.
async fn replace_password(revoker: Arc<Revoker>, store: Arc<Overtaken>, user: String) {
    let before = store.store.by_id(&user).await.unwrap().unwrap().password;
    let hash = Passwords::new(password::Options::default()).hash(Secret::new("another horse".into())).await;
    assert!(store.store.set_password(&user, before.as_deref(), &hash.unwrap()).await.unwrap());
    revoker.sign_out_everywhere(&user).await;
}

#[tokio::test]
async fn a_sign_in_that_a_new_password_overtook_leaves_no_session() {
    let ground = Ground::new().await;
    ground.meanwhile(replace_password);
    let answer = ground.login().await;
    assert!(matches!(answer, Err(Error::NotRecognised)), "{answer:?}");
    assert_eq!(ground.sessions.list(&ground.ada.id).await.unwrap().len(), 0);
}

#[tokio::test]
async fn a_sign_in_is_not_disturbed_by_one_that_hashed_the_password_anew() {
    let ground = Ground::new().await;
    ground.meanwhile(|_, store, user| async move {
        let before = store.store.by_id(&user).await.unwrap().unwrap().password;
        let hash = Passwords::new(password::Options::default()).hash(Secret::new(PASSWORD.into())).await;
        assert!(store.store.set_password(&user, before.as_deref(), &hash.unwrap()).await.unwrap());
    });
    let tokens = ground.login().await.unwrap();
    assert!(ground.is_good(&tokens).await);
}

#[tokio::test]
async fn a_token_of_rights_that_were_taken_while_it_was_made_is_worth_nothing() {
    let ground = Ground::new().await;
    let tokens = ground.login().await.unwrap();
    // The account was read as that of an administrator; what takes the role also revokes.
    ground.meanwhile(
        |revoker, _, user| async move { users::Consequences::role_changed(&*revoker, &user).await },
    );
    let refreshed = ground.refresh(&tokens).await.unwrap();
    assert!(!ground.is_good(&refreshed).await);
    let again = ground.refresh(&refreshed).await.unwrap();
    assert!(ground.is_good(&again).await, "the next is of the rights that are left");
}

#[tokio::test]
async fn who_hangs_up_while_the_password_changes_leaves_no_old_session() {
    let ground = Ground::new().await;
    let tokens = ground.login().await.unwrap();
    let caller = ground.authenticator.authenticate(tokens.access.expose()).await.unwrap();
    let input = json!({"currentPassword": PASSWORD, "newPassword": "another horse battery"});
    let from = Origin { client: "192.0.2.1".to_owned(), agent: None };
    let input = serde_json::from_value(input).unwrap();
    let mut change = Box::pin(ground.accounts.change_password(&caller, input, &from));
    let before = ground.store.by_id(&ground.ada.id).await.unwrap().unwrap().password;
    // Hangs up in the moment in which the new password is there.
    while ground.store.by_id(&ground.ada.id).await.unwrap().unwrap().password == before {
        tokio::select! {
            biased;
            answer = &mut change => { answer.unwrap(); }
            () = tokio::task::yield_now() => {}
        }
    }
    drop(change);
    ground.accounts.stop().await.unwrap();
    assert!(!ground.is_good(&tokens).await);
    assert!(matches!(ground.refresh(&tokens).await, Err(Error::NotRecognised)));
}

/// The time of an answer must not tell that there is such an account: nobody waits for the trail.
#[tokio::test]
async fn a_refused_sign_in_is_answered_before_the_trail_hears_of_it() {
    let ground = Ground::new().await;
    let (heard, mut hears) = mpsc::unbounded_channel();
    let hear = move |event: Event<AccountEvent>| {
        let heard = heard.clone();
        async move { _ = heard.send((event.kind.to_string(), event.data.id)) }
    };
    ground.accounts.events.subscribe("account.*", hear).await.unwrap();
    let writing = ground.db.begin().await.unwrap();
    let answer =
        tokio::time::timeout(Duration::from_secs(60), ground.login_with("wrong horse battery")).await;
    assert!(matches!(answer, Ok(Err(Error::NotRecognised))), "{answer:?}");
    writing.rollback().await.unwrap();
    ground.accounts.stop().await.unwrap();
    assert_eq!(hears.recv().await, Some((event::REFUSED.to_owned(), ground.ada.id.clone())));
}

#[tokio::test]
async fn a_sign_out_that_is_repeated_ends_the_token_that_the_first_could_not() {
    let ground = Ground::new().await;
    let tokens = ground.login().await.unwrap();
    let caller = ground.authenticator.authenticate(tokens.access.expose()).await.unwrap();
    ground.faults.always(Fault::Unavailable);
    assert!(ground.accounts.logout(&caller).await.is_err());
    ground.faults.mend();
    ground.accounts.logout(&caller).await.unwrap();
    assert!(!ground.is_good(&tokens).await, "it was answered that it is over");
}

#[tokio::test]
async fn who_hangs_up_while_signing_out_is_signed_out() {
    let ground = Ground::new().await;
    let tokens = ground.login().await.unwrap();
    let caller = ground.authenticator.authenticate(tokens.access.expose()).await.unwrap();
    ground.faults.delay(Duration::from_millis(50));
    let mut out = Box::pin(ground.accounts.logout(&caller));
    // Hangs up in the moment in which the session is gone.
    while !ground.sessions.list(&ground.ada.id).await.unwrap().is_empty() {
        tokio::select! {
            biased;
            answer = &mut out => { answer.unwrap(); }
            () = tokio::task::yield_now() => {}
        }
    }
    drop(out);
    ground.accounts.stop().await.unwrap();
    ground.faults.mend();
    assert!(!ground.is_good(&tokens).await);
}
