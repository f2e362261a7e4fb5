use mainstay_sql::{Database, Error, Options};

fn location(url: &str) -> String {
    format!("{:?}", Options::from_url(url).unwrap())
}

#[test]
fn a_sqlite_url_names_a_relative_path_an_absolute_path_or_memory() {
    assert!(location("sqlite://data/x.db").contains("SqliteFile(\"data/x.db\")"));
    assert!(location("sqlite:///var/x.db").contains("SqliteFile(\"/var/x.db\")"));
    assert!(location("sqlite:x.db").contains("SqliteFile(\"x.db\")"));
    assert!(location("sqlite::memory:").contains("SqliteMemory"));
    assert!(location("sqlite://:memory:").contains("SqliteMemory"));
}

#[test]
fn other_urls_are_refused_with_the_reason_and_without_repeating_a_password() {
    for (url, expected) in [
        ("postgres://user:hunter2@host", "names no database"),
        ("postgres://user:hunter2@host/", "names no database"),
        ("postgres://user:hunter2@host/a/b", "names no database"),
        ("postgres:hunter2", "names no host"),
        ("postgres:///hunter2", "names no host"),
        ("mysql://user:hunter2@host:port/db", "not a URL: invalid port number"),
        ("mariadb://user:hunter2%FF@host/db", "the password is not UTF-8"),
        ("postgres://user@host/db?sslmode=hunter2", "sslmode is one of disable, prefer"),
        ("mysql://user@host/db?hunter2=1", "a parameter after ? is not understood"),
        ("oracle://user:hunter2@host/db", "expected a URL such as sqlite://"),
        ("hunter2", "expected a URL such as sqlite://"),
        ("sqlite://", "needs a path"),
        ("sqlite://x.db?mode=hunter2", "parameters after ? are not understood"),
    ] {
        let error = Options::from_url(url).unwrap_err();
        assert!(matches!(error, Error::Options { .. }));
        assert!(error.to_string().contains(expected), "{url}: {error}");
        assert!(!error.to_string().contains("hunter2"), "{url}: {error}");
    }
}

#[tokio::test]
async fn limits_without_limit_are_taken_as_such() {
    use std::time::Duration;

    let options = Options::sqlite_in_memory().acquire_timeout(Duration::MAX).idle_timeout(Duration::MAX);
    let options = options.statement_timeout(Duration::MAX).slow_query(Duration::MAX);
    let db = Database::connect(options.pool_max(usize::MAX).pool_min(usize::MAX)).await.unwrap();
    let directory = tempfile::TempDir::new().unwrap();
    let file = Options::sqlite(directory.path().join("x.db")).acquire_timeout(Duration::MAX);
    let file = Database::connect(file.pool_max(usize::MAX)).await.unwrap();
    for db in [db, file] {
        db.ping().await.unwrap();
        db.close().await;
    }
}

#[test]
fn what_is_wrong_with_the_server_to_read_from_names_its_setting() {
    for url in ["postgres://user:hunter2@host", "sqlite://x.db", "hunter2"] {
        let error = Options::postgres("host", "db").read_from(url).unwrap_err().to_string();
        assert!(error.contains("DATABASE_READ_URL") && !error.contains("hunter2"), "{error}");
    }
}
