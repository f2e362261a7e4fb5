//! A row of a result, independent of the backend that produced it.

use std::sync::Arc;

use crate::{Error, FromValue, Value};

/// One row: values by column name. It owns its data and holds no connection.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    columns: Arc<[String]>,
    values: Vec<Value>,
}

impl Row {
    pub(crate) fn new(columns: Arc<[String]>, values: Vec<Value>) -> Self {
        debug_assert_eq!(columns.len(), values.len());
        Self { columns, values }
    }

    /// The value of `column`, converted to `T`. Names are compared exactly; name computed columns with
    /// `AS`, since each backend invents its own names.
    ///
    /// # Errors
    /// [`Error::Decode`] if there is no such column or it holds something else, `NULL` included unless
    /// `T` is an [`Option`].
    pub fn get<T: FromValue>(&self, column: &str) -> Result<T, Error> {
        let decode = |reason| Error::Decode { column: column.to_owned(), reason };
        let index = self
            .columns
            .iter()
            .position(|name| name == column)
            .ok_or_else(|| decode(format!("not in the result, which has {}", self.columns.join(", "))))?;
        T::from_value(&self.values[index]).map_err(decode)
    }
}
