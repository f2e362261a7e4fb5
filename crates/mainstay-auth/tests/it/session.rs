use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::join_all;
use mainstay_auth::session::{
    Bounds, Error, MemorySessions, NewSession, Rotated, Rotation, Session, SessionOptions, SessionStore,
    Sessions,
};
use mainstay_core::metrics::{Format, Metrics};
use mainstay_core::store::StoreError;
use mainstay_testkit::TestClock;
use mainstay_testkit::conformance::session::{Backend, suite};

#[tokio::test]
async fn sessions_in_memory_keep_the_contract() {
    suite().run(async || Backend { store: Arc::new(MemorySessions::new()) }).await;
}

struct Rig {
    sessions: Sessions,
    metrics: Metrics,
}

impl Rig {
    fn new() -> Self {
        Self::on(Arc::new(MemorySessions::new()), SessionOptions::default())
    }

    fn on(store: Arc<dyn SessionStore>, options: SessionOptions) -> Self {
        let metrics = Metrics::new();
        let sessions = Sessions::new(store, options, &metrics, TestClock::new().clock());
        Self { sessions, metrics }
    }

    async fn ids(&self, subject: &str) -> Vec<String> {
        self.sessions.list(subject).await.unwrap().into_iter().map(|session| session.id).collect()
    }

    #[track_caller]
    fn counted(&self, result: &str, count: usize) {
        let line = format!("auth_session_refreshes_total{{result=\"{result}\"}} {count}\n");
        let text = self.metrics.render(Format::Prometheus);
        assert!(text.contains(&line), "{line}{text}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_session_goes_on_with_the_token_of_each_refresh() {
    let rig = Rig::new();
    let opened = rig.sessions.open("ada", "Firefox").await.unwrap();
    let mut token = opened.refresh;
    for _ in 0..10 {
        let refreshed = rig.sessions.refresh(token.expose()).await.unwrap();
        assert_eq!((&refreshed.session, refreshed.subject.as_str()), (&opened.session_id, "ada"));
        assert_ne!(refreshed.refresh.expose(), token.expose());
        token = refreshed.refresh;
    }
    let [session] = &rig.sessions.list("ada").await.unwrap()[..] else { panic!("one session") };
    assert_eq!((session.id.as_str(), session.about.as_str()), (opened.session_id.as_str(), "Firefox"));
    rig.counted("ok", 10);
}

#[tokio::test(start_paused = true)]
async fn a_rotated_token_that_comes_back_ends_the_session_for_thief_and_owner() {
    let rig = Rig::new();
    let opened = rig.sessions.open("ada", "").await.unwrap();
    let stolen = opened.refresh.expose();
    let owners = rig.sessions.refresh(stolen).await.unwrap();
    tokio::time::advance(Duration::from_millis(10_001)).await;
    let reused = Error::Reused { session: opened.session_id.clone(), subject: "ada".to_owned() };
    assert_eq!(rig.sessions.refresh(stolen).await.unwrap_err(), reused);
    assert_eq!(reused.to_string(), Error::Invalid.to_string(), "a caller hears no difference");
    assert_eq!(rig.sessions.refresh(owners.refresh.expose()).await.unwrap_err(), Error::Invalid);
    assert_eq!(rig.sessions.refresh(stolen).await.unwrap_err(), Error::Invalid);
    assert!(rig.ids("ada").await.is_empty());
    rig.counted("reused", 1);
    rig.counted("invalid", 2);
}

#[tokio::test(start_paused = true)]
async fn of_two_refreshes_at_once_one_wins_and_the_other_is_told_so() {
    let rig = Rig::new();
    for _ in 0..20 {
        let opened = rig.sessions.open("ada", "").await.unwrap();
        let token = opened.refresh.expose();
        let (one, other) = tokio::join!(rig.sessions.refresh(token), rig.sessions.refresh(token));
        let (won, lost) = if one.is_ok() { (one, other) } else { (other, one) };
        assert_eq!(lost.unwrap_err(), Error::Elsewhere);
        assert!(rig.sessions.refresh(won.unwrap().refresh.expose()).await.is_ok(), "the session goes on");
    }
    rig.counted("elsewhere", 20);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_a_hundred_refreshes_on_all_threads_one_wins() {
    let rig = Rig::new();
    let opened = rig.sessions.open("ada", "").await.unwrap();
    let refresh = || {
        let (sessions, token) = (rig.sessions.clone(), opened.refresh.clone());
        tokio::spawn(async move { sessions.refresh(token.expose()).await.map(drop) })
    };
    let all = join_all((0..100).map(|_| refresh())).await;
    let won = all.iter().filter(|refreshed| refreshed.as_ref().unwrap().is_ok()).count();
    assert_eq!(won, 1);
    assert_eq!(rig.ids("ada").await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_session_says_when_it_is_over_and_is() {
    let options = SessionOptions {
        idle: Duration::from_secs(60),
        lifetime: Duration::from_secs(100),
        ..SessionOptions::default()
    };
    let clock = TestClock::new().clock();
    let sessions = Sessions::new(Arc::new(MemorySessions::new()), options, &Metrics::new(), clock.clone());
    let left = |expires: jiff::Timestamp| expires.duration_since(clock.wall()).as_secs();
    let opened = sessions.open("ada", "").await.unwrap();
    assert_eq!(left(opened.expires), 60);
    tokio::time::advance(Duration::from_secs(59)).await;
    let refreshed = sessions.refresh(opened.refresh.expose()).await.unwrap();
    assert_eq!(left(refreshed.expires), 41, "its lifetime is sooner over");
    tokio::time::advance(Duration::from_secs(41)).await;
    assert_eq!(sessions.refresh(refreshed.refresh.expose()).await.unwrap_err(), Error::Invalid);
    assert!(sessions.list("ada").await.unwrap().is_empty());
    assert_eq!(sessions.purge().await, Ok(1));
}

#[tokio::test(start_paused = true)]
async fn the_sessions_of_one_subject_are_bounded() {
    let rig = Rig::new();
    let mut opened = Vec::new();
    for _ in 0..40 {
        opened.push(rig.sessions.open("ada", "").await.unwrap().session_id);
        tokio::time::advance(Duration::from_secs(1)).await;
    }
    opened.reverse();
    assert_eq!(rig.ids("ada").await, opened[..32]);
}

#[tokio::test(start_paused = true)]
async fn a_session_is_described_in_few_words_of_one_line() {
    let rig = Rig::new();
    rig.sessions.open("ada", &format!("a\nb\u{1b}[31m\u{0}{}", "é".repeat(300))).await.unwrap();
    let about = rig.sessions.list("ada").await.unwrap().remove(0).about;
    assert!(about.starts_with("ab[31mé") && about.len() <= 256 && about.len() >= 255, "{about}");
    for subject in ["", &"x".repeat(257)] {
        assert_eq!(rig.sessions.open(subject, "").await.unwrap_err(), Error::Subject);
    }
}

#[tokio::test(start_paused = true)]
async fn texts_that_are_no_tokens_are_refused_without_asking_the_store() {
    let rig = Rig::on(Arc::new(Broken(Broke::Hangs)), SessionOptions::default());
    for text in ["", "x", "eyJhbGciOiJIUzI1NiJ9.e30.", &"A".repeat(63), &"A".repeat(65), &"=".repeat(64)] {
        assert_eq!(rig.sessions.refresh(text).await.unwrap_err(), Error::Invalid, "{text}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_fails_is_told_apart_from_a_session_that_is_over() {
    let token = "A".repeat(64);
    let rig = Rig::on(Arc::new(Broken(Broke::Away)), SessionOptions::default());
    assert!(matches!(rig.sessions.refresh(&token).await, Err(Error::Unavailable(_))));
    assert!(matches!(rig.sessions.open("ada", "").await, Err(Error::Unavailable(_))));
    rig.counted("unavailable", 1);
    let rig = Rig::on(Arc::new(Broken(Broke::Hangs)), SessionOptions::default());
    let before = tokio::time::Instant::now();
    assert!(matches!(rig.sessions.refresh(&token).await, Err(Error::Unknown(_))));
    assert_eq!(before.elapsed().as_secs(), 5, "nobody waits for ever");
    assert!(matches!(rig.sessions.revoke("x").await, Err(Error::Unknown(_))));
    assert!(matches!(rig.sessions.list("ada").await, Err(Error::Unknown(_))));
}

#[tokio::test]
async fn options_without_bounds_do_no_harm() {
    let forever = SessionOptions {
        idle: Duration::MAX,
        lifetime: Duration::MAX,
        grace: Duration::MAX,
        ..Default::default()
    };
    let none =
        SessionOptions { idle: Duration::ZERO, lifetime: Duration::ZERO, most: 0, ..Default::default() };
    for options in [forever, none] {
        let rig = Rig::on(Arc::new(MemorySessions::new()), options);
        let opened = rig.sessions.open("ada", "").await.unwrap();
        let _ = rig.sessions.refresh(opened.refresh.expose()).await;
        rig.sessions.purge().await.unwrap();
    }
}

#[derive(Debug)]
struct Broken(Broke);

#[derive(Debug, Clone, Copy)]
enum Broke {
    Away,
    Hangs,
}

impl Broken {
    async fn answer<T>(&self) -> Result<T, StoreError> {
        match self.0 {
            Broke::Away => Err(StoreError::unavailable("away")),
            Broke::Hangs => std::future::pending().await,
        }
    }
}

#[async_trait]
impl SessionStore for Broken {
    async fn open(&self, _: &NewSession, _: usize) -> Result<Vec<String>, StoreError> {
        self.answer().await
    }

    async fn rotate(&self, _: &Rotation) -> Result<Rotated, StoreError> {
        self.answer().await
    }

    async fn revoke(&self, _: &str, _: Option<&str>) -> Result<bool, StoreError> {
        self.answer().await
    }

    async fn revoke_all(&self, _: &str, _: Option<&str>) -> Result<Vec<String>, StoreError> {
        self.answer().await
    }

    async fn list(&self, _: &str, _: Bounds) -> Result<Vec<Session>, StoreError> {
        self.answer().await
    }

    async fn purge(&self, _: Bounds) -> Result<u64, StoreError> {
        self.answer().await
    }
}
