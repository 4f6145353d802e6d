//! `pg_llm_describe`, facts and examples: what people tell models that write queries.

use pg_llm_gateway::ledger::Uuid;

use super::required;
use crate::backend::calls::{Args, Returned, sql_functions};
use crate::backend::errors::{Failure, SqlError, State};
use crate::backend::generated_query::{self, Wanted};
use crate::backend::{gucs, privileges};
use crate::catalog::notes;

sql_functions! {
    pg_llm_describe_wrapper, pg_finfo_pg_llm_describe_wrapper => describe;
    pg_llm_add_fact_wrapper, pg_finfo_pg_llm_add_fact_wrapper => add_fact;
    pg_llm_add_example_wrapper, pg_finfo_pg_llm_add_example_wrapper => add_example;
    pg_llm_add_answered_example_wrapper, pg_finfo_pg_llm_add_answered_example_wrapper => add_answered_example;
    pg_llm_remove_fact_wrapper, pg_finfo_pg_llm_remove_fact_wrapper => remove_fact;
    pg_llm_remove_example_wrapper, pg_finfo_pg_llm_remove_example_wrapper => remove_example;
}

/// `(object, description, column_name)`.
fn describe(args: &Args<'_>) -> Result<Returned, Failure> {
    let (relation, column) = (required(args.oid(0), "object")?, args.text(2)?);
    let words = args.text(1)?.map(|words| checked(words, "description", notes::MOST_WORDS)).transpose()?;
    let role = privileges::current_role();
    let object = notes::object(role, relation, column.as_deref())?;
    Ok(Returned::Bool(notes::describe(role, object, words.as_deref())?))
}

/// `(fact, about, shared)`.
fn add_fact(args: &Args<'_>) -> Result<Returned, Failure> {
    let fact = checked(required(args.text(0)?, "fact")?, "fact", notes::MOST_WORDS)?;
    let role = privileges::current_role();
    let about = args.oids(1).into_iter().map(|relation| notes::object(role, relation, None).map(|object| object.about));
    let about = about.collect::<Result<Vec<_>, _>>()?;
    Ok(Returned::Long(notes::add(role, about, &fact, None, args.boolean(2).unwrap_or(false))?))
}

/// `(question, sql, shared)`.
fn add_example(args: &Args<'_>) -> Result<Returned, Failure> {
    let question = checked(required(args.text(0)?, "question")?, "question", notes::MOST_WORDS)?;
    let sql = checked(required(args.text(1)?, "sql")?, "sql", notes::MOST_SQL)?;
    let sql = sql.trim().trim_end_matches(|c: char| c == ';' || c.is_whitespace());
    let planned = generated_query::run(sql, gucs::text2sql_bounds(), Wanted::default())?;
    let planned = planned.map_err(|error| error.cause)?;
    let about = notes::about(&planned.reads);
    Ok(Returned::Long(notes::add(privileges::current_role(), about, &question, Some(sql), args.boolean(2).unwrap_or(false))?))
}

/// `(request_id)`.
fn add_answered_example(args: &Args<'_>) -> Result<Returned, Failure> {
    let request_id = Uuid::from_bytes(required(args.uuid(0), "request_id")?).to_string();
    let unknown = || {
        SqlError::new(State::Undefined, format!("pg_llm: there is no answered question {request_id} of the current role"))
            .hint("The latest pg_llm.text2sql_remembered_requests are kept, until a crash of the server.")
    };
    Ok(Returned::Long(notes::learn(privileges::current_role(), &request_id)?.ok_or_else(unknown)?))
}

/// `(id)`.
fn remove_fact(args: &Args<'_>) -> Result<Returned, Failure> {
    Ok(Returned::Bool(notes::remove(privileges::current_role(), required(args.long(0), "id")?, "fact")?))
}

/// `(id)`.
fn remove_example(args: &Args<'_>) -> Result<Returned, Failure> {
    Ok(Returned::Bool(notes::remove(privileges::current_role(), required(args.long(0), "id")?, "example")?))
}

fn checked(text: String, name: &str, most: usize) -> Result<String, SqlError> {
    if text.trim().is_empty() {
        return Err(SqlError::new(State::InvalidArgument, format!("pg_llm: {name} must not be empty")));
    }
    if text.len() > most {
        return Err(SqlError::new(State::TooLarge, format!("pg_llm: {name} has {} bytes, and may have {most}", text.len())));
    }
    Ok(text)
}
