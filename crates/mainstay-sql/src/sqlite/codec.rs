//! Portable values to SQLite's and back.

use std::sync::Arc;

use sqlx::sqlite::{Sqlite, SqliteArguments, SqliteRow, SqliteValueRef};
use sqlx::{Arguments, Column, Decode, Row as _, TypeInfo, ValueRef};

use crate::backend::Statement;
use crate::{Row, Value};

pub(super) fn bind(
    statement: &Statement,
) -> Result<sqlx::query::Query<'static, Sqlite, SqliteArguments>, sqlx::Error> {
    let mut arguments = SqliteArguments::default();
    for value in &statement.values {
        match value {
            Value::Null => arguments.add(None::<i64>),
            Value::Bool(value) => arguments.add(i64::from(*value)),
            Value::Int(value) => arguments.add(*value),
            Value::Real(value) => arguments.add(*value),
            Value::Text(value) => arguments.add(value.as_str()),
            Value::Blob(value) => arguments.add(value.as_slice()),
        }
        .map_err(sqlx::Error::Encode)?;
    }
    Ok(sqlx::query_with(statement.sql, arguments))
}

/// Converts rows of one result, which share their column names.
pub(super) fn rows(rows: &[SqliteRow]) -> Result<Vec<Row>, sqlx::Error> {
    let Some(first) = rows.first() else { return Ok(Vec::new()) };
    let columns: Arc<[String]> = first.columns().iter().map(|column| column.name().to_owned()).collect();
    rows.iter().map(|row| Ok(Row::new(columns.clone(), values(row)?))).collect()
}

fn values(row: &SqliteRow) -> Result<Vec<Value>, sqlx::Error> {
    (0..row.len())
        .map(|index| {
            value(row.try_get_raw(index)?).map_err(|source| sqlx::Error::ColumnDecode {
                index: row.columns()[index].name().to_owned(),
                source,
            })
        })
        .collect()
}

/// By what is stored, not by what the column was declared as: SQLite does not enforce the latter.
fn value(raw: SqliteValueRef<'_>) -> Result<Value, sqlx::error::BoxDynError> {
    if raw.is_null() {
        return Ok(Value::Null);
    }
    let stored = raw.type_info().name().to_owned();
    Ok(match stored.as_str() {
        "INTEGER" => Value::Int(<i64 as Decode<'_, Sqlite>>::decode(raw)?),
        "REAL" => Value::Real(<f64 as Decode<'_, Sqlite>>::decode(raw)?),
        "TEXT" => Value::Text(<String as Decode<'_, Sqlite>>::decode(raw)?),
        "BLOB" => Value::Blob(<Vec<u8> as Decode<'_, Sqlite>>::decode(raw)?),
        other => return Err(format!("unknown storage class {other}").into()),
    })
}
