use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use mainstay_auth::session::{Error, MemorySessions, SessionOptions, Sessions};
use mainstay_auth::token::{IssueOptions, Issued, Issuer, Keys, NewClaims, Verifier, VerifyOptions};
use mainstay_auth::{Authenticate, Authenticator, Refused, Revocations, Roles};
use mainstay_core::cache;
use mainstay_core::config::{JwtAlgorithm, RevocationOutage};
use mainstay_core::metrics::{Format, Metrics};
use mainstay_testkit::TestClock;
use mainstay_testkit::faulty::cache::FaultyStore;
use mainstay_testkit::faulty::{Fault, Faults};

use crate::keys;

const LIFETIME: Duration = Duration::from_secs(900);

/// Two processes with one store: what is revoked in one is checked in the other.
struct Rig {
    time: TestClock,
    metrics: Metrics,
    issuer: Issuer,
    revocations: Revocations,
    authenticator: Authenticator,
    faults: Faults,
}

impl Rig {
    fn new(outage: RevocationOutage) -> Self {
        let (time, metrics) = (TestClock::new(), Metrics::new());
        let faults = Faults::none();
        let memory: Arc<dyn cache::Store> =
            Arc::new(cache::Memory::new(&cache::Options::default(), time.clock()));
        let revocations = || {
            let store = Arc::new(FaultyStore::new(Arc::clone(&memory), faults.clone()));
            Revocations::new(store, outage, LIFETIME, &metrics, time.clock())
        };
        let keys = Keys::signing(keys::key(JwtAlgorithm::EdDSA)).unwrap();
        let (issuer, audience) = ("issuer".to_owned(), "audience".to_owned());
        let options = IssueOptions { issuer, audience, lifetime: LIFETIME };
        let issuer = Issuer::new(&keys, options, time.clock()).unwrap();
        let options = VerifyOptions::new("issuer", "audience");
        let verifier = Verifier::new(keys, options, &metrics, time.clock()).unwrap();
        let roles =
            Roles::builder().role("user", ["things:read"]).role("editor", ["things:write"]).build().unwrap();
        let authenticator = Authenticator::new(verifier, roles, Some(revocations()));
        let revocations = revocations();
        Self { time, metrics, issuer, revocations, authenticator, faults }
    }

    fn issue(&self, subject: &str, session: Option<&str>) -> Issued {
        let roles = vec!["user".to_owned(), "nobody".to_owned()];
        let session = session.map(str::to_owned);
        self.issuer.issue(&NewClaims { subject: subject.to_owned(), roles, session }).unwrap()
    }

    async fn passes(&self, issued: &Issued) -> Result<(), Refused> {
        self.authenticator.authenticate(issued.token.expose()).await.map(drop)
    }

    fn sessions(&self) -> Sessions {
        let store = Arc::new(MemorySessions::new());
        let sessions = Sessions::new(store, SessionOptions::default(), &self.metrics, self.time.clock());
        sessions.revoking(self.revocations.clone())
    }
}

#[tokio::test(start_paused = true)]
async fn a_caller_is_what_the_token_says_and_may_what_its_roles_permit() {
    let rig = Rig::new(RevocationOutage::Refuse);
    let issued = rig.issue("ada", Some("session-1"));
    let ada = rig.authenticator.authenticate(issued.token.expose()).await.unwrap();
    assert_eq!(ada.subject(), "ada");
    assert_eq!(ada.roles(), ["user", "nobody"]);
    assert!(ada.may("things:read") && !ada.may("things:write"));
    assert_eq!((ada.session(), ada.token()), (Some("session-1"), Some(issued.id.as_str())));
    assert_eq!(ada.expires(), Some(issued.expires));
    assert_eq!(rig.authenticator.authenticate("nonsense").await, Err(Refused::Invalid));
}

#[tokio::test(start_paused = true)]
async fn a_revoked_token_is_refused_everywhere_until_it_expires_and_others_are_not() {
    let rig = Rig::new(RevocationOutage::Refuse);
    let (one, other) = (rig.issue("ada", None), rig.issue("ada", None));
    rig.revocations.revoke_token(&one.id, one.expires).await.unwrap();
    assert_eq!(rig.passes(&one).await, Err(Refused::Invalid));
    assert_eq!(rig.passes(&other).await, Ok(()));
    // To the last moment at which it would pass: 30 s of leeway after its end.
    let left = one.expires.duration_since(rig.time.clock().wall()) + SignedDuration::from_millis(29_999);
    tokio::time::advance(Duration::try_from(left).unwrap()).await;
    assert_eq!(rig.passes(&one).await, Err(Refused::Invalid));
    assert_eq!(rig.passes(&other).await, Ok(()));
}

#[tokio::test(start_paused = true)]
async fn all_tokens_of_a_subject_until_now_are_revoked_and_the_next_is_not() {
    let rig = Rig::new(RevocationOutage::Refuse);
    let (before, bobs) = (rig.issue("ada", None), rig.issue("bob", None));
    tokio::time::advance(Duration::from_millis(1)).await;
    rig.revocations.revoke_subject("ada").await.unwrap();
    let same_moment = rig.issue("ada", None);
    tokio::time::advance(Duration::from_millis(1)).await;
    let after = rig.issue("ada", None);
    assert_eq!(rig.passes(&before).await, Err(Refused::Invalid));
    assert_eq!(rig.passes(&same_moment).await, Err(Refused::Invalid), "who knows which was first");
    assert_eq!(rig.passes(&after).await, Ok(()), "within the same second");
    assert_eq!(rig.passes(&bobs).await, Ok(()));
    tokio::time::advance(LIFETIME).await;
    assert_eq!(rig.passes(&before).await, Err(Refused::Invalid));
}

#[tokio::test(start_paused = true)]
async fn the_access_tokens_of_a_session_end_with_it() {
    let rig = Rig::new(RevocationOutage::Refuse);
    let sessions = rig.sessions();
    let mut opened = Vec::new();
    for _ in 0..5 {
        let session = sessions.open("ada", "").await.unwrap();
        let access = rig.issue("ada", Some(&session.session_id));
        opened.push((session, access));
        tokio::time::advance(Duration::from_secs(1)).await;
    }
    let passing = async || {
        let mut all = Vec::new();
        for (_, access) in &opened {
            all.push(rig.passes(access).await.is_ok());
        }
        all
    };
    let id = |i: usize| opened[i].0.session_id.as_str();
    assert_eq!(passing().await, [true, true, true, true, true]);
    assert_eq!(sessions.revoke(id(0)).await, Ok(true));
    assert_eq!(sessions.revoke_own("bob", id(1)).await, Ok(false));
    assert_eq!(passing().await, [false, true, true, true, true]);
    assert_eq!(sessions.revoke_own("ada", id(1)).await, Ok(true));
    assert_eq!(passing().await, [false, false, true, true, true]);
    // Theft: the third session's first token comes back.
    let stolen = opened[2].0.refresh.expose();
    sessions.refresh(stolen).await.unwrap();
    tokio::time::advance(Duration::from_secs(11)).await;
    assert!(matches!(sessions.refresh(stolen).await, Err(Error::Reused { .. })));
    assert_eq!(passing().await, [false, false, false, true, true]);
    assert_eq!(sessions.revoke_others("ada", id(4)).await, Ok(1));
    assert_eq!(passing().await, [false, false, false, false, true]);
    assert_eq!(sessions.revoke_all("ada").await, Ok(1));
    assert_eq!(passing().await, [false; 5]);
}

#[tokio::test(start_paused = true)]
async fn while_the_list_does_not_answer_the_declared_rule_holds() {
    for (outage, verdict) in
        [(RevocationOutage::Allow, Ok(())), (RevocationOutage::Refuse, Err(Refused::Unavailable))]
    {
        let rig = Rig::new(outage);
        let (revoked, other) = (rig.issue("ada", None), rig.issue("ada", None));
        rig.revocations.revoke_token(&revoked.id, revoked.expires).await.unwrap();
        assert_eq!(rig.passes(&revoked).await, Err(Refused::Invalid));
        rig.faults.always(Fault::Unavailable);
        assert_eq!(rig.passes(&other).await, verdict);
        assert!(rig.revocations.revoke_token(&other.id, other.expires).await.is_err());
        assert_eq!(rig.authenticator.authenticate("nonsense").await, Err(Refused::Invalid));
        rig.faults.mend();
        assert_eq!(rig.passes(&revoked).await, Err(Refused::Invalid));
        let text = rig.metrics.render(Format::Prometheus);
        assert!(text.contains("auth_revocation_checks_total{result=\"unavailable\"} 1\n"), "{text}");
        assert!(text.contains("auth_revocation_checks_total{result=\"revoked\"} 2\n"), "{text}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_revocation_that_fails_takes_no_earlier_one_away() {
    for fault in [Fault::Unavailable, Fault::LostRequest, Fault::LostReply, Fault::Hang] {
        let rig = Rig::new(RevocationOutage::Refuse);
        let (token, adas) = (rig.issue("bob", None), rig.issue("ada", None));
        tokio::time::advance(Duration::from_millis(1)).await;
        rig.revocations.revoke_token(&token.id, token.expires).await.unwrap();
        rig.revocations.revoke_subject("ada").await.unwrap();
        rig.faults.always(fault);
        assert!(rig.revocations.revoke_token(&token.id, token.expires).await.is_err());
        assert!(rig.revocations.revoke_subject("ada").await.is_err());
        rig.faults.mend();
        tokio::time::advance(Duration::from_secs(5)).await;
        assert_eq!(rig.passes(&token).await, Err(Refused::Invalid), "{fault:?}");
        assert_eq!(rig.passes(&adas).await, Err(Refused::Invalid), "{fault:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn names_that_no_store_takes_are_refused() {
    let rig = Rig::new(RevocationOutage::Refuse);
    let long = "x".repeat(3_000);
    assert!(rig.revocations.revoke_token(&long, Timestamp::MAX).await.is_err());
    assert!(rig.revocations.revoke_sessions(std::slice::from_ref(&long)).await.is_err());
    assert!(rig.revocations.revoke_subject(&long).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_session_ends_even_if_its_access_tokens_cannot_be_revoked_and_that_is_said() {
    let rig = Rig::new(RevocationOutage::Allow);
    let sessions = rig.sessions();
    let opened = sessions.open("ada", "").await.unwrap();
    rig.faults.always(Fault::Unavailable);
    assert_eq!(sessions.revoke(&opened.session_id).await, Err(Error::AccessRemains));
    assert_eq!(sessions.refresh(opened.refresh.expose()).await.unwrap_err(), Error::Invalid);
    rig.faults.mend();
    let access = rig.issue("ada", Some(&opened.session_id));
    assert_eq!(sessions.revoke(&opened.session_id).await, Ok(false), "repeated, it revokes what remained");
    assert_eq!(rig.passes(&access).await, Err(Refused::Invalid));
}

#[tokio::test(start_paused = true)]
async fn what_has_expired_can_be_revoked_all_the_same() {
    let rig = Rig::new(RevocationOutage::Refuse);
    for expires in [Timestamp::MIN, Timestamp::UNIX_EPOCH] {
        rig.revocations.revoke_token("old", expires).await.unwrap();
    }
}
