//! What a repository costs on each database: a user read by id, a page of twenty, and a change (read, update, commit)
//! through `Database`, against sqlx bare with as many connections, the same statements and the same records.
//!
//! `cargo bench -p mainstay-sql --all-features --bench query`; PostgreSQL and MariaDB are started for it. Each figure is
//! the median of the samples, taken in turn. sqlx is spared its question before each use of a connection.
#![allow(missing_docs)]
#![allow(clippy::print_stdout, reason = "the table is the result")]

use std::time::Duration;

use mainstay_sql::{Database, Dialect, Migration, Migrations, Options, Row};
use mainstay_testkit::sql::{Kind, SqlServer};
use sqlx::mysql::{MySqlConnection, MySqlPoolOptions};
use sqlx::postgres::{PgConnection, PgPoolOptions};
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous,
};
use tempfile::TempDir;
use tokio::time::Instant;

const SAMPLES: usize = 7;
const USERS: usize = 1000;
const CONNECTIONS: u32 = 10;
const PATIENCE: Duration = Duration::from_secs(30);

const TABLE: Migration = Migration::sql(
    1,
    "users",
    "CREATE TABLE users (id VARCHAR(36) PRIMARY KEY, email VARCHAR(254) NOT NULL, name VARCHAR(100) NOT NULL, \
     created_at BIGINT NOT NULL, version BIGINT NOT NULL)",
);

/// What both sides make of a row.
struct User {
    id: String,
    email: String,
    name: String,
    created_at: i64,
    version: i64,
}

impl User {
    /// Keeps the compiler from leaving a column out.
    fn weight(&self) -> usize {
        self.id.len() + self.email.len() + self.name.len() + usize::from(self.created_at + self.version > 0)
    }
}

fn user(row: &Row) -> User {
    let text = |column| row.get::<String>(column).expect("a text");
    let number = |column| row.get::<i64>(column).expect("a number");
    User {
        id: text("id"),
        email: text("email"),
        name: text("name"),
        created_at: number("created_at"),
        version: number("version"),
    }
}

/// Ids in an order that is no order.
fn id(number: usize) -> String {
    format!("{:08x}-0000-7000-8000-000000000000", number % USERS * 7919 % USERS)
}

#[derive(Clone, Copy, PartialEq)]
enum Case {
    Get,
    Page,
    Change,
}

/// One side: does the case for this number.
trait Side: Clone + Send + 'static {
    fn run(&self, case: Case, number: usize) -> impl Future<Output = usize> + Send;
}

#[derive(Clone)]
struct Ours(Database);

impl Side for Ours {
    async fn run(&self, case: Case, number: usize) -> usize {
        let db = &self.0;
        match case {
            Case::Get => {
                let sql = "SELECT id, email, name, created_at, version FROM users WHERE id = ?";
                let row = db.query(sql).bind(id(number)).label("users.get").fetch_one().await;
                user(&row.expect("a user")).weight()
            }
            Case::Page => {
                let sql = "SELECT id, email, name, created_at, version FROM users WHERE id > ? ORDER BY id LIMIT 20";
                let rows = db.query(sql).bind(id(number)).label("users.list").fetch_all().await;
                rows.expect("users").iter().map(|row| user(row).weight()).sum()
            }
            Case::Change => {
                let mut tx = db.begin().await.expect("a transaction");
                let sql = "SELECT id, email, name, created_at, version FROM users WHERE id = ?";
                let row = tx.query(sql).bind(id(number)).label("users.current").fetch_one().await;
                let user = user(&row.expect("a user"));
                let sql = "UPDATE users SET version = version + 1 WHERE id = ?";
                tx.query(sql).bind(&user.id).label("users.update").execute().await.expect("changed");
                tx.commit().await.expect("committed");
                user.weight()
            }
        }
    }
}

/// The same by hand, for each driver. Drivers are types of their own, so this is the one way to say it once.
macro_rules! bare {
    ($side:ident, $pool:ty, $connection:ty, $one:literal, $begin:literal) => {
        /// Readers, and the writer, which may be the same pool.
        #[derive(Clone)]
        struct $side($pool, $pool);

        impl Side for $side {
            async fn run(&self, case: Case, number: usize) -> usize {
                type Columns = (String, String, String, i64, i64);
                let user = |(id, email, name, created_at, version): Columns| User {
                    id,
                    email,
                    name,
                    created_at,
                    version,
                };
                let get = concat!("SELECT id, email, name, created_at, version FROM users WHERE id = ", $one);
                match case {
                    Case::Get => {
                        let row = sqlx::query_as(get).bind(id(number)).fetch_one(&self.0).await;
                        user(row.expect("a user")).weight()
                    }
                    Case::Page => {
                        let sql = concat!(
                            "SELECT id, email, name, created_at, version FROM users WHERE id > ",
                            $one,
                            " ORDER BY id LIMIT 20"
                        );
                        let rows: Vec<Columns> =
                            sqlx::query_as(sql).bind(id(number)).fetch_all(&self.0).await.expect("users");
                        rows.into_iter().map(|row| user(row).weight()).sum()
                    }
                    Case::Change => {
                        let mut tx = self.1.begin_with($begin).await.expect("a transaction");
                        let connection: &mut $connection = &mut tx;
                        let row = sqlx::query_as(get).bind(id(number)).fetch_one(&mut *connection).await;
                        let user = user(row.expect("a user"));
                        let sql = concat!("UPDATE users SET version = version + 1 WHERE id = ", $one);
                        sqlx::query(sql).bind(&user.id).execute(&mut *connection).await.expect("changed");
                        tx.commit().await.expect("committed");
                        user.weight()
                    }
                }
            }
        }
    };
}

bare!(Sqlite, sqlx::SqlitePool, SqliteConnection, "?", "BEGIN IMMEDIATE");
bare!(Postgres, sqlx::PgPool, PgConnection, "$1", "BEGIN");
bare!(Mysql, sqlx::MySqlPool, MySqlConnection, "?", "START TRANSACTION");

/// Operations per second with so many callers.
async fn rate(side: &impl Side, case: Case, callers: usize) -> f64 {
    let each = match (case, callers) {
        (Case::Change, 1) => 200,
        (Case::Change, _) => 20,
        (_, 1) => 2000,
        _ => 150,
    };
    let start = Instant::now();
    let tasks: Vec<_> = (0..callers)
        .map(|caller| {
            let side = side.clone();
            tokio::spawn(async move {
                let mut weight = 0;
                for round in 0..each {
                    weight += side.run(case, caller * 131 + round).await;
                }
                weight
            })
        })
        .collect();
    for task in tasks {
        assert!(task.await.expect("a case panicked") > 0);
    }
    (each * callers) as f64 / start.elapsed().as_secs_f64()
}

async fn compare(name: &str, ours: &Ours, bare: &impl Side) {
    for (case, what) in [(Case::Get, "get"), (Case::Page, "page of 20"), (Case::Change, "change")] {
        for callers in [1, 64] {
            let (mut here, mut there) = (Vec::new(), Vec::new());
            for _ in 0..SAMPLES {
                here.push(rate(ours, case, callers).await);
                there.push(rate(bare, case, callers).await);
            }
            here.sort_by(f64::total_cmp);
            there.sort_by(f64::total_cmp);
            let (here, there) = (here[SAMPLES / 2], there[SAMPLES / 2]);
            println!(
                "{name:<11} {what:<11} {callers:>3} callers  {here:>9.0}/s  bare {there:>9.0}/s  ratio {:.2}",
                here / there
            );
        }
    }
}

async fn ours(options: Options) -> Ours {
    let db = Database::connect(options.pool_max(CONNECTIONS as usize)).await.expect("a database");
    db.migrate(&Migrations::new([TABLE])).await.expect("a table");
    for number in 0..USERS {
        let sql = "INSERT INTO users (id, email, name, created_at, version) VALUES (?, ?, ?, ?, ?)";
        let insert = db.query(sql).bind(id(number)).bind("ada.lovelace@example.com").bind("Ada Lovelace");
        insert.bind(1_795_000_000_000_000_i64).bind(1_i64).execute().await.expect("inserted");
    }
    Ours(db)
}

async fn sqlite() {
    let directory = TempDir::new().expect("a directory");
    let file = directory.path().join("bench.db");
    let ours = ours(Options::sqlite(&file)).await;
    assert_eq!(ours.0.dialect(), Dialect::Sqlite);
    let options = SqliteConnectOptions::new()
        .filename(&file)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Normal)
        .busy_timeout(PATIENCE);
    let pool = |most| {
        SqlitePoolOptions::new().max_connections(most).acquire_timeout(PATIENCE).test_before_acquire(false)
    };
    let readers = pool(CONNECTIONS).connect_with(options.clone().read_only(true)).await.expect("readers");
    let writer = pool(1).connect_with(options).await.expect("a writer");
    compare("SQLite", &ours, &Sqlite(readers, writer)).await;
}

async fn postgres() {
    let server = SqlServer::shared(Kind::Postgres);
    let url = server.url(&server.database());
    let ours = ours(Options::from_url(&url).expect("a URL")).await;
    let pool = PgPoolOptions::new()
        .max_connections(CONNECTIONS)
        .acquire_timeout(PATIENCE)
        .test_before_acquire(false);
    let pool = pool.connect(&url).await.expect("a pool");
    compare("PostgreSQL", &ours, &Postgres(pool.clone(), pool)).await;
}

async fn mysql() {
    let server = SqlServer::shared(Kind::MariaDb);
    let url = server.url(&server.database());
    let ours = ours(Options::from_url(&url).expect("a URL")).await;
    let pool = MySqlPoolOptions::new()
        .max_connections(CONNECTIONS)
        .acquire_timeout(PATIENCE)
        .test_before_acquire(false);
    let pool = pool.connect(&url).await.expect("a pool");
    compare("MariaDB", &ours, &Mysql(pool.clone(), pool)).await;
}

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(4)
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        sqlite().await;
        postgres().await;
        mysql().await;
    });
}
