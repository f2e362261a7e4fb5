//! Whole apps in processes of their own publish in transactions and record what they handle, while they and Redis
//! are killed again and again. `MAINSTAY_ROUNDS` multiplies the events: 100 make 100,000.

use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

use mainstay::Mainstay;
use mainstay::event::{Event, Events};
use mainstay::sql::inbox::Inbox;
use mainstay::sql::{Database, Migration, Migrations, Options};
use mainstay_testkit::redis::{RedisServer, Sentinels};
use mainstay_testkit::worker::{Parent, Worker};
use mainstay_testkit::{Rng, Seed, eventually_async};
use serde::{Deserialize, Serialize};
use tempfile::TempDir;
use tokio::time::sleep;

use crate::support::{PATIENCE, builder};

const EVENTS: u64 = 1_000;
const PUBLISHERS: u64 = 2;
const CONSUMERS: u64 = 4;
const KIND: &str = "number.chosen";

fn rounds() -> u64 {
    std::env::var("MAINSTAY_ROUNDS").map_or(1, |times| times.parse().expect("a number"))
}

const fn millis(n: u64) -> Duration {
    Duration::from_millis(n)
}

#[derive(Serialize, Deserialize)]
struct Chosen {
    publisher: i64,
    number: i64,
}

#[tokio::test]
async fn whoever_is_killed_and_when_each_commit_has_its_effect_once() {
    let mut rng = Seed::from_env("MAINSTAY_SEED").rng();
    let mut redis = RedisServer::builder().aof_always().start().await;
    let mut contest = Contest::begin(Some(&redis.url()), EVENTS * rounds(), None).await;
    let mut deaths = [0; 3];
    while !contest.is_over().await || deaths.contains(&0) {
        sleep(millis(50 + rng.below(250))).await;
        let victim = match rng.below(70) {
            0..50 => 0,
            50..60 => 1,
            _ => 2,
        };
        deaths[victim] += 1;
        match victim {
            0 => contest.kill_consumer(&mut rng).await,
            1 => contest.kill_publisher(&mut rng).await,
            _ => {
                redis.kill();
                sleep(millis(rng.below(300))).await;
                redis.restart().await;
            }
        }
    }
    contest.judge(&format!("consumers, publishers and servers that died: {deaths:?}")).await;
}

#[tokio::test]
async fn a_primary_that_dies_with_what_its_replicas_had_not_heard_takes_no_event_with_it() {
    let mut sentinels = Sentinels::start().await;
    let contest = Contest::begin(Some(&sentinels.url()), EVENTS * rounds(), None).await;
    let least = rounds().min(20);
    let mut failovers = 0;
    while !contest.is_over().await || failovers < least {
        sentinels.lossy_failover().await;
        sentinels.restart_dead().await;
        failovers += 1;
    }
    contest.judge(&format!("{failovers} lossy failovers")).await;
}

#[tokio::test]
async fn without_a_server_each_commit_has_its_effect_once_whoever_is_killed() {
    let mut rng = Seed::from_env("MAINSTAY_SEED").rng();
    let mut contest = Contest::begin(None, EVENTS * rounds(), None).await;
    let mut deaths = 0;
    while !contest.is_over().await || deaths < 3 {
        sleep(millis(20 + rng.below(200))).await;
        contest.kill_publisher(&mut rng).await;
        deaths += 1;
    }
    contest.judge(&format!("{deaths} deaths")).await;
}

#[tokio::test]
async fn no_event_of_a_subject_overtakes_another_while_consumers_and_servers_are_killed() {
    let mut rng = Seed::from_env("MAINSTAY_SEED").rng();
    let mut redis = RedisServer::builder().aof_always().start().await;
    let mut contest = Contest::begin(Some(&redis.url()), EVENTS * rounds(), Some(subjects())).await;
    let mut deaths = [0; 2];
    while !contest.is_over().await || deaths.contains(&0) {
        sleep(millis(50 + rng.below(450))).await;
        let victim = usize::from(rng.below(6) == 0);
        deaths[victim] += 1;
        if victim == 0 {
            contest.kill_consumer(&mut rng).await;
        } else {
            redis.kill();
            redis.restart().await;
        }
    }
    contest.judge(&format!("in order, consumers and servers that died: {deaths:?}")).await;
}

#[tokio::test]
async fn no_event_of_a_subject_overtakes_another_in_a_database_while_its_processes_are_killed() {
    let mut rng = Seed::from_env("MAINSTAY_SEED").rng();
    let mut contest = Contest::begin(None, EVENTS * rounds(), Some(subjects())).await;
    let mut deaths = 0;
    while !contest.is_over().await || deaths < 3 {
        sleep(millis(300 + rng.below(700))).await;
        contest.kill_publisher(&mut rng).await;
        deaths += 1;
    }
    contest.judge(&format!("in order, {deaths} deaths")).await;
}

/// 100 at first, 1,000 at full scale.
fn subjects() -> u64 {
    100 * rounds().min(10)
}

/// The processes, and the databases they share or own.
struct Contest {
    /// How many subjects, where their order is kept.
    subjects: Option<u64>,
    dir: TempDir,
    url: Option<String>,
    share: i64,
    publishers: Vec<Worker>,
    consumers: Vec<Worker>,
    effects: Database,
}

impl Contest {
    async fn begin(url: Option<&str>, events: u64, subjects: Option<u64>) -> Self {
        let dir = TempDir::new().unwrap();
        let effects = database(&dir.path().join("effects.db")).await;
        let share = i64::try_from(events.div_ceil(PUBLISHERS)).unwrap();
        let url = url.map(str::to_owned);
        let mut this =
            Self { subjects, dir, url, share, publishers: Vec::new(), consumers: Vec::new(), effects };
        // Who is subscribed gets what is published from then on.
        let consumers = if this.url.is_some() { CONSUMERS } else { 0 };
        for number in 0..consumers {
            let mut consumer = this.consumer(number);
            assert_eq!(consumer.line(PATIENCE).await.as_deref(), Some("ready"));
            this.consumers.push(consumer);
        }
        this.publishers = (0..PUBLISHERS).map(|number| this.publisher(number)).collect();
        this
    }

    fn spawn(&self, role: &str, database: &str, number: u64) -> Worker {
        let path = self.dir.path().join(database);
        let (number, share) = (number.to_string(), self.share.to_string());
        let subjects = self.subjects.map(|subjects| (subjects / PUBLISHERS).to_string());
        let mut env = vec![
            ("ROLE", role),
            ("FILE", path.to_str().unwrap()),
            ("NUMBER", number.as_str()),
            ("SHARE", share.as_str()),
        ];
        env.extend(self.url.as_deref().map(|url| ("REDIS", url)));
        env.extend(subjects.as_deref().map(|subjects| ("SUBJECTS", subjects)));
        Worker::spawn("event_chaos::member", &env)
    }

    fn consumer(&self, number: u64) -> Worker {
        self.spawn("consumer", "effects.db", number)
    }

    /// Without a server whoever publishes consumes as well, on the one database.
    fn publisher(&self, number: u64) -> Worker {
        match self.url {
            Some(_) => self.spawn("publisher", &format!("publisher{number}.db"), number),
            None => self.spawn("both", "effects.db", number),
        }
    }

    async fn kill_consumer(&mut self, rng: &mut Rng) {
        let number = rng.below(CONSUMERS);
        let at = usize::try_from(number).unwrap();
        self.consumers[at].kill();
        self.consumers[at].wait(PATIENCE).await;
        self.consumers[at] = self.consumer(number);
    }

    async fn kill_publisher(&mut self, rng: &mut Rng) {
        let number = rng.below(PUBLISHERS);
        let at = usize::try_from(number).unwrap();
        self.publishers[at].kill();
        self.publishers[at].wait(PATIENCE).await;
        self.publishers[at] = self.publisher(number);
    }

    /// Whether everything that is to be committed has been.
    async fn is_over(&self) -> bool {
        let mut chosen = 0;
        for number in 0..PUBLISHERS {
            chosen += self.chosen(number).await.len();
        }
        chosen == usize::try_from(self.share).unwrap() * usize::try_from(PUBLISHERS).unwrap()
    }

    /// What a publisher has committed.
    async fn chosen(&self, publisher: u64) -> Vec<i64> {
        let file =
            if self.url.is_some() { format!("publisher{publisher}.db") } else { "effects.db".to_owned() };
        let db = database(&self.dir.path().join(file)).await;
        let chosen = db.query("SELECT number FROM chosen WHERE publisher = ? ORDER BY number");
        let rows = chosen.bind(i64::try_from(publisher).unwrap()).fetch_all().await.unwrap();
        rows.iter().map(|row| row.get("number").unwrap()).collect()
    }

    async fn effects(&self, publisher: u64) -> Vec<i64> {
        let effects = self.effects.query("SELECT number FROM effects WHERE publisher = ? ORDER BY number");
        let rows = effects.bind(i64::try_from(publisher).unwrap()).fetch_all().await.unwrap();
        rows.iter().map(|row| row.get("number").unwrap()).collect()
    }

    /// Every commit has one effect, and there is no other.
    #[expect(clippy::print_stdout, reason = "what happened, for who runs it at full scale")]
    async fn judge(self, story: &str) {
        println!("{} events, {story}", self.share * i64::try_from(PUBLISHERS).unwrap());
        for publisher in 0..PUBLISHERS {
            let chosen = self.chosen(publisher).await;
            let mut there = self.effects(publisher).await.len();
            // As long as there are more and more: how fast they come is the machine's affair.
            while there < chosen.len() {
                let before = there;
                eventually_async("there is one more effect", 2 * PATIENCE, async || {
                    there = self.effects(publisher).await.len();
                    there > before
                })
                .await;
            }
            assert_eq!(self.effects(publisher).await, chosen, "publisher {publisher}");
            if let Some(subjects) = self.subjects {
                self.judge_order(publisher, i64::try_from(subjects / PUBLISHERS).unwrap()).await;
            }
        }
    }

    /// The effects of each subject came in the order in which they were chosen.
    async fn judge_order(&self, publisher: u64, subjects: i64) {
        let effects = self.effects.query("SELECT number FROM effects WHERE publisher = ? ORDER BY rowid");
        let rows = effects.bind(i64::try_from(publisher).unwrap()).fetch_all().await.unwrap();
        let mut latest = HashMap::new();
        for row in rows {
            let number: i64 = row.get("number").unwrap();
            let before = latest.insert(number % subjects, number);
            assert!(before < Some(number), "publisher {publisher}: {number} after {before:?}");
        }
    }
}

fn migrations() -> Migrations {
    Migrations::new([Migration::sql(
        1,
        "numbers",
        "CREATE TABLE chosen (publisher BIGINT NOT NULL, number BIGINT NOT NULL, PRIMARY KEY (publisher, number));
         CREATE TABLE effects (publisher BIGINT NOT NULL, number BIGINT NOT NULL);
         CREATE INDEX effects_of ON effects (publisher, number)",
    )])
}

/// A look into a database of the contest.
async fn database(path: &Path) -> Database {
    let db = Database::connect(Options::sqlite(path)).await.unwrap();
    db.migrate(&migrations().with_events().with_sessions()).await.unwrap();
    db
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a process of the tests above"]
async fn member() {
    let Some(mut parent) = Parent::here() else { return };
    let env = |name| std::env::var(name).unwrap();
    let url = format!("sqlite://{}", env("FILE"));
    let mut variables = vec![
        ("DATABASE_URL", url.as_str()),
        ("LOG_LEVEL", "error"),
        ("EVENTS_VISIBILITY", "2s"),
        ("EVENTS_MAX_ATTEMPTS", "1000"),
    ];
    let redis = std::env::var("REDIS").ok();
    variables.extend(redis.as_deref().map(|redis| ("REDIS_URL", redis)));
    let app = builder(&variables).database(migrations()).start().await.unwrap();
    let role = env("ROLE");
    if role != "publisher" {
        consume(&app).await;
        parent.say("ready");
    }
    if role != "consumer" {
        choose(&app, env("NUMBER").parse().unwrap(), env("SHARE").parse().unwrap()).await;
    }
    // Until it is killed, or the parent is gone.
    parent.order().await;
}

/// Chooses each number once, however often it is killed on the way.
async fn choose(app: &Mainstay, publisher: i64, share: i64) {
    let db = app.container().resolve::<Database>().unwrap();
    loop {
        let last = "SELECT COUNT(*) AS n FROM chosen WHERE publisher = ?";
        let number: i64 = db.query(last).bind(publisher).fetch_one().await.unwrap().get("n").unwrap();
        if number == share {
            return;
        }
        // A busy database or a full queue is met again after a pause.
        if chosen(&db, app.events(), Chosen { publisher, number }).await.is_err() {
            sleep(millis(5)).await;
        }
    }
}

/// Of a publisher, where their order is kept.
fn subjects_of_each() -> Option<i64> {
    std::env::var("SUBJECTS").ok().map(|subjects| subjects.parse().unwrap())
}

async fn chosen(db: &Database, events: &Events, chosen: Chosen) -> Result<(), Box<dyn std::error::Error>> {
    let mut tx = db.begin().await?;
    let insert = "INSERT INTO chosen (publisher, number) VALUES (?, ?)";
    tx.query(insert).bind(chosen.publisher).bind(chosen.number).execute().await?;
    match subjects_of_each() {
        None => events.publish_in(&mut tx, KIND, &chosen).await?,
        Some(subjects) => {
            let subject = format!("{}/{}", chosen.publisher, chosen.number % subjects);
            events.event(KIND).subject(subject).publish_in(&mut tx, &chosen).await?
        }
    };
    tx.commit().await?;
    Ok(())
}

async fn consume(app: &Mainstay) {
    let db = app.container().resolve::<Database>().unwrap();
    let inbox = Inbox::new("ledger");
    let handler = move |event: Event<Chosen>| {
        let (db, inbox) = (Database::clone(&db), inbox.clone());
        async move {
            let mut tx = db.begin().await?;
            if inbox.first(&mut tx, event.id).await? {
                let insert = "INSERT INTO effects (publisher, number) VALUES (?, ?)";
                tx.query(insert).bind(event.data.publisher).bind(event.data.number).execute().await?;
                tx.commit().await?;
            }
            Ok::<_, mainstay::sql::Error>(())
        }
    };
    let subscription = app.events().on(KIND).group("ledger");
    let subscription = if subjects_of_each().is_some() { subscription.ordered() } else { subscription };
    subscription.handle(handler).await.unwrap();
}
