//! Portable values to PostgreSQL's and back.

use std::sync::Arc;

use sqlx::encode::IsNull;
use sqlx::error::BoxDynError;
use sqlx::postgres::types::Oid;
use sqlx::postgres::{PgArgumentBuffer, PgArguments, PgRow, PgTypeInfo, PgValueRef, Postgres};
use sqlx::{Arguments, AssertSqlSafe, Column, Decode, Encode, Row as _, Type, TypeInfo, ValueRef};

use super::numeric;
use super::placeholder::Texts;
use crate::backend::Statement;
use crate::{Row, Value};

/// A `NULL` whose type the server infers from where it stands.
struct Untyped;

impl Type<Postgres> for Untyped {
    fn type_info() -> PgTypeInfo {
        PgTypeInfo::with_oid(Oid(0))
    }
}

impl Encode<'_, Postgres> for Untyped {
    fn encode_by_ref(&self, _: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        Ok(IsNull::Yes)
    }
}

pub(super) fn bind(
    statement: &Statement,
    texts: &Texts,
) -> Result<sqlx::query::Query<'static, Postgres, PgArguments>, sqlx::Error> {
    let mut arguments = PgArguments::default();
    for value in &statement.values {
        match value {
            Value::Null => arguments.add(Untyped),
            Value::Bool(value) => arguments.add(*value),
            Value::Int(value) => arguments.add(*value),
            Value::Real(value) => arguments.add(*value),
            Value::Text(value) => arguments.add(value.as_str()),
            Value::Blob(value) => arguments.add(value.as_slice()),
        }
        .map_err(sqlx::Error::Encode)?;
    }
    let (text, keep) = texts.text(statement);
    // The text is `'static`, with its placeholders numbered.
    Ok(sqlx::query_with(AssertSqlSafe(text), arguments).persistent(keep))
}

/// Converts rows of one result, which share their column names.
pub(super) fn rows(rows: &[PgRow]) -> Result<Vec<Row>, sqlx::Error> {
    let Some(first) = rows.first() else { return Ok(Vec::new()) };
    let columns: Arc<[String]> = first.columns().iter().map(|column| column.name().to_owned()).collect();
    rows.iter().map(|row| Ok(Row::new(columns.clone(), values(row)?))).collect()
}

fn values(row: &PgRow) -> Result<Vec<Value>, sqlx::Error> {
    (0..row.len())
        .map(|index| {
            value(row.try_get_raw(index)?).map_err(|source| sqlx::Error::ColumnDecode {
                index: row.columns()[index].name().to_owned(),
                source,
            })
        })
        .collect()
}

fn value(raw: PgValueRef<'_>) -> Result<Value, BoxDynError> {
    if raw.is_null() {
        return Ok(Value::Null);
    }
    let name = raw.type_info().name().to_owned();
    Ok(match name.as_str() {
        "BOOL" => Value::Bool(<bool as Decode<'_, Postgres>>::decode(raw)?),
        "INT2" => Value::Int(<i16 as Decode<'_, Postgres>>::decode(raw)?.into()),
        "INT4" => Value::Int(<i32 as Decode<'_, Postgres>>::decode(raw)?.into()),
        "INT8" => Value::Int(<i64 as Decode<'_, Postgres>>::decode(raw)?),
        "FLOAT4" => Value::Real(<f32 as Decode<'_, Postgres>>::decode(raw)?.into()),
        "FLOAT8" => Value::Real(<f64 as Decode<'_, Postgres>>::decode(raw)?),
        "NUMERIC" => numeric::value(raw.as_bytes()?).ok_or("not a finite number")?,
        "TEXT" | "VARCHAR" | "CHAR" | "NAME" | "UNKNOWN" => {
            Value::Text(<String as Decode<'_, Postgres>>::decode(raw)?)
        }
        "BYTEA" => Value::Blob(<Vec<u8> as Decode<'_, Postgres>>::decode(raw)?),
        other => return Err(unportable(other).into()),
    })
}

fn unportable(name: &str) -> String {
    format!("{name} is not a portable type; say CAST(… AS TEXT) in the statement")
}
