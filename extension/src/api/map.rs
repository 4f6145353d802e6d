//! `pg_llm_map`: a chat for each row of a query.

use pg_llm_gateway::ledger::Via;

use super::batch::{Calls, Drawn, Source};
use crate::backend::calls::{Args, Returned};
use crate::backend::cursor::Cursor;
use crate::backend::errors::{Failure, SqlError, State};
use crate::backend::rows::{Rows, sql_set_functions};
use pgrx::pg_sys;

sql_set_functions! {
    pg_llm_map_wrapper, pg_finfo_pg_llm_map_wrapper => map;
}

/// What a row of the query holds.
const SHAPES: &str = "One column: the prompt. Two: key, prompt. Three: key, prompt, options as jsonb.";

/// The rows of a query, known by their key, or by their number from 1.
pub(super) struct Query {
    cursor: Cursor,
    drawn: i64,
}

impl Query {
    /// Begins `sql`, whose columns `check` accepts.
    ///
    /// # Errors
    /// As [`Cursor::open`], and those of `check`.
    pub(super) fn open(sql: &str, args: &Args<'_>, check: impl FnOnce(&[pg_sys::Oid]) -> Result<(), SqlError>) -> Result<Self, SqlError> {
        let cursor = Cursor::open(sql, args.memory())?;
        check(cursor.types())?;
        Ok(Self { cursor, drawn: 0 })
    }
}

impl Source for Query {
    fn draw(&mut self) -> Result<Option<Drawn>, Failure> {
        self.drawn += 1;
        let (number, columns) = (self.drawn, self.cursor.types().len());
        let drawn = self.cursor.next(|row| {
            if columns == 1 {
                return Ok(Drawn { key: Returned::Json(number.into()), prompt: row.text(0)?, options: None });
            }
            let options = row.text(2)?.map(|text| serde_json::from_str(&text)).transpose();
            let options =
                options.map_err(|e| SqlError::new(State::InvalidArgument, format!("pg_llm: options of a row cannot be used: {e}")))?;
            Ok(Drawn { key: row.jsonb(0).map_or(Returned::Null, Returned::Jsonb), prompt: row.text(1)?, options })
        });
        Ok(drawn?)
    }

    fn close(&mut self) -> Result<(), Failure> {
        self.cursor.close();
        Ok(())
    }
}

/// `(instance_name, query, options)`.
fn map(args: &Args<'_>) -> Result<Option<Box<dyn Rows>>, Failure> {
    let Some(query) = args.text(1)? else { return Ok(None) };
    let calls = Calls::of(args, 2, Via::Map)?;
    let query = Query::open(&query, args, check_shape)?;
    Ok(Some(Box::new(calls.with(query, usize::MAX)?)))
}

pub(super) fn check_shape(types: &[pg_sys::Oid]) -> Result<(), SqlError> {
    let wrong = match types {
        [_] | [_, _] | [_, _, pg_sys::JSONBOID | pg_sys::JSONOID] => return Ok(()),
        [_, _, _] => "the third column of query is not of type jsonb".to_owned(),
        columns => format!("query has {} columns", columns.len()),
    };
    Err(SqlError::new(State::InvalidArgument, format!("pg_llm: {wrong}")).hint(SHAPES))
}
