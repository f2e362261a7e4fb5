//! Portable values to MySQL's and back.

use std::sync::Arc;

use sqlx::error::BoxDynError;
use sqlx::mysql::{MySql, MySqlArguments, MySqlRow, MySqlValueRef};
use sqlx::{Arguments, Column, Decode, Row as _, Type, TypeInfo, ValueRef};

use crate::backend::Statement;
use crate::{Row, Value};

/// What a packet holds besides its values, and besides each of them, at most.
const HEAD: usize = 64;
const BESIDE: usize = 16;

pub(super) fn bind(
    statement: &Statement,
    most: u64,
) -> Result<sqlx::query::Query<'static, MySql, MySqlArguments>, sqlx::Error> {
    let bytes = statement.values.iter().map(size).fold(HEAD, usize::saturating_add);
    if u64::try_from(bytes).unwrap_or(u64::MAX) > most {
        let reason = format!("values of some {bytes} bytes, and the server takes at most {most} at once");
        return Err(sqlx::Error::Encode(format!("{reason} (max_allowed_packet)").into()));
    }
    let mut arguments = MySqlArguments::default();
    for value in &statement.values {
        match value {
            Value::Null => arguments.add(None::<i64>),
            Value::Bool(value) => arguments.add(*value),
            Value::Int(value) => arguments.add(*value),
            Value::Real(value) => arguments.add(*value),
            Value::Text(value) => arguments.add(value.as_str()),
            Value::Blob(value) => arguments.add(value.as_slice()),
        }
        .map_err(sqlx::Error::Encode)?;
    }
    Ok(sqlx::query_with(statement.sql, arguments))
}

fn size(value: &Value) -> usize {
    match value {
        Value::Text(text) => text.len().saturating_add(BESIDE),
        Value::Blob(blob) => blob.len().saturating_add(BESIDE),
        _ => BESIDE,
    }
}

/// Converts rows of one result, which share their column names.
pub(super) fn rows(rows: &[MySqlRow]) -> Result<Vec<Row>, sqlx::Error> {
    let Some(first) = rows.first() else { return Ok(Vec::new()) };
    let columns: Arc<[String]> = first.columns().iter().map(|column| column.name().to_owned()).collect();
    rows.iter().map(|row| Ok(Row::new(columns.clone(), values(row)?))).collect()
}

fn values(row: &MySqlRow) -> Result<Vec<Value>, sqlx::Error> {
    (0..row.len())
        .map(|index| {
            value(row.try_get_raw(index)?).map_err(|source| sqlx::Error::ColumnDecode {
                index: row.columns()[index].name().to_owned(),
                source,
            })
        })
        .collect()
}

fn value(raw: MySqlValueRef<'_>) -> Result<Value, BoxDynError> {
    if raw.is_null() {
        return Ok(Value::Null);
    }
    let kind = raw.type_info().into_owned();
    // Not by name: a text that is compared byte by byte is called binary there.
    if <str as Type<MySql>>::compatible(&kind) {
        return Ok(Value::Text(<String as Decode<'_, MySql>>::decode(raw)?));
    }
    if <[u8] as Type<MySql>>::compatible(&kind) {
        return Ok(Value::Blob(<Vec<u8> as Decode<'_, MySql>>::decode(raw)?));
    }
    Ok(match kind.name() {
        "BOOLEAN" | "TINYINT" | "SMALLINT" | "MEDIUMINT" | "INT" | "BIGINT" => {
            Value::Int(<i64 as Decode<'_, MySql>>::decode(raw)?)
        }
        "TINYINT UNSIGNED" | "SMALLINT UNSIGNED" | "MEDIUMINT UNSIGNED" | "INT UNSIGNED"
        | "BIGINT UNSIGNED" => Value::Int(<u64 as Decode<'_, MySql>>::decode(raw)?.try_into()?),
        "FLOAT" => Value::Real(<f32 as Decode<'_, MySql>>::decode(raw)?.into()),
        "DOUBLE" => Value::Real(<f64 as Decode<'_, MySql>>::decode(raw)?),
        "DECIMAL" => decimal(<&str as Decode<'_, MySql>>::decode(raw)?)?,
        other => {
            return Err(
                format!("{other} is not a portable type; say CAST(… AS CHAR) in the statement").into()
            );
        }
    })
}

/// One without decimal places, as sums of `BIGINT` are, is an integer if it fits; every other is a real number.
fn decimal(text: &str) -> Result<Value, BoxDynError> {
    Ok(match text.parse() {
        Ok(integer) => Value::Int(integer),
        Err(_) => Value::Real(text.parse()?),
    })
}
