use mainstay_sql::{Database, Dialect, Error, Migration, Migrations, Value};
use proptest::prelude::*;

use crate::support::{Store, on_each_database};

on_each_database!(
    every_portable_value_comes_back_unchanged,
    values_that_some_database_cannot_keep_are_refused_when_bound,
    a_value_that_looks_like_sql_stays_a_value,
    reading_the_wrong_column_or_type_says_what_was_found,
    fetch_one_of_nothing_is_not_found_and_fetch_optional_is_none,
);

const TABLE: Migration = Migration::sql(
    1,
    "values",
    "CREATE TABLE kept (b BOOLEAN, i BIGINT, r DOUBLE PRECISION, t TEXT, x BLOB)",
)
.on(Dialect::Postgres, "CREATE TABLE kept (b BOOLEAN, i BIGINT, r DOUBLE PRECISION, t TEXT, x BYTEA)");

async fn database(store: &Store) -> Database {
    let db = store.connect().await;
    db.migrate(&Migrations::new([TABLE])).await.unwrap();
    db
}

type Kept = (Option<bool>, Option<i64>, Option<f64>, Option<String>, Option<Vec<u8>>);

async fn keep(db: &Database, kept: &Kept) -> Result<Kept, Error> {
    let (b, i, r, t, x) = kept.clone();
    let mut tx = db.begin().await?;
    tx.query("DELETE FROM kept").execute().await?;
    let insert = tx.query("INSERT INTO kept (b, i, r, t, x) VALUES (?, ?, ?, ?, ?)");
    insert.bind(b).bind(i).bind(r).bind(t).bind(x).execute().await?;
    let row = tx.query("SELECT b, i, r, t, x FROM kept").fetch_one().await?;
    tx.commit().await?;
    Ok((row.get("b")?, row.get("i")?, row.get("r")?, row.get("t")?, row.get("x")?))
}

async fn every_portable_value_comes_back_unchanged(store: Store) {
    let db = database(&store).await;
    let runtime = tokio::runtime::Handle::current();
    let integer = prop_oneof![any::<i64>(), Just(i64::MIN), Just(i64::MAX), Just(0), Just(1 << 53)];
    let real = prop_oneof![
        proptest::num::f64::NORMAL | proptest::num::f64::SUBNORMAL | proptest::num::f64::ZERO,
        Just(f64::MIN),
        Just(f64::MAX),
        Just(f64::MIN_POSITIVE)
    ];
    let text = any::<String>().prop_map(|text| text.replace('\0', "?"));
    let blob = proptest::collection::vec(any::<u8>(), 0..300);
    let kept = (
        any::<Option<bool>>(),
        proptest::option::of(integer),
        proptest::option::of(real),
        proptest::option::of(text),
        proptest::option::of(blob),
    );
    tokio::task::block_in_place(|| {
        proptest!(ProptestConfig::with_cases(200), |(kept in kept)| {
            prop_assert_eq!(runtime.block_on(keep(&db, &kept)).unwrap(), kept);
        });
    });
}

async fn values_that_some_database_cannot_keep_are_refused_when_bound(store: Store) {
    let db = database(&store).await;
    let refused: [Value; 4] =
        ["a\0b".into(), f64::NAN.into(), f64::INFINITY.into(), f64::NEG_INFINITY.into()];
    for value in refused {
        let error = db.query("SELECT ? AS v").bind(value).fetch_one().await.unwrap_err();
        assert!(error.to_string().contains("parameter 1 is"), "{error}");
    }
}

async fn a_value_that_looks_like_sql_stays_a_value(store: Store) {
    let db = database(&store).await;
    let text = "'; DROP TABLE kept; --".to_owned();
    let kept = (None, None, None, Some(text), None);
    assert_eq!(keep(&db, &kept).await.unwrap(), kept);
}

async fn reading_the_wrong_column_or_type_says_what_was_found(store: Store) {
    let db = database(&store).await;
    let row = db.query("SELECT 'x' AS t, NULL AS n, 7 AS i").fetch_one().await.unwrap();
    assert_eq!(row.get::<i64>("t").unwrap_err().to_string(), "column `t`: expected an integer, found text");
    assert_eq!(row.get::<String>("n").unwrap_err().to_string(), "column `n`: expected text, found NULL");
    assert_eq!(
        row.get::<bool>("i").unwrap_err().to_string(),
        "column `i`: expected a boolean, found an integer"
    );
    assert_eq!(
        row.get::<i64>("id").unwrap_err().to_string(),
        "column `id`: not in the result, which has t, n, i"
    );
    assert_eq!(row.get::<Option<String>>("n").unwrap(), None);
}

async fn fetch_one_of_nothing_is_not_found_and_fetch_optional_is_none(store: Store) {
    let db = database(&store).await;
    assert!(matches!(db.query("SELECT i FROM kept").fetch_one().await, Err(Error::NotFound)));
    assert!(db.query("SELECT i FROM kept").fetch_optional().await.unwrap().is_none());
    assert!(db.query("SELECT i FROM kept").fetch_all().await.unwrap().is_empty());
}
