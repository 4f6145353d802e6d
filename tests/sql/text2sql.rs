//! Questions to queries: what the model is told, what of its answer is run, and what becomes of the rows.

mod context;
pub(crate) mod functions;
mod large;
mod limits;
mod notes;
mod questions;
mod repair;
mod results;
pub(crate) mod statements;

use pg_llm_tests::postgres::error::DbError;
use pg_llm_tests::postgres::{Client, Error};
use pg_llm_tests::{Asked, db_error};
use pg_llm_upstream::{Received, Upstream, openai};
use serde_json::{Value, json};

/// A model `m` that takes the question for its answer, so that a test says what the model writes.
fn obedient() -> Asked {
    let asked = Asked::at(Upstream::start(), json!({}));
    asked.upstream.on(Asked::PATH).handle(|received| openai::completion(&question(received)));
    asked
}

/// A model that gives these answers, one a request, the last for ever.
fn saying(answers: &[&str]) -> Asked {
    let asked = Asked::at(Upstream::start(), json!({}));
    let mut script = asked.upstream.on(Asked::PATH);
    for answer in answers {
        script = script.reply(openai::completion(answer));
    }
    drop(script);
    asked
}

/// What was asked, without the schema.
fn question(received: &Received) -> String {
    let body = received.json();
    let first = body["messages"].as_array().unwrap().iter().find(|message| message["role"] == "user").cloned().unwrap();
    let text = first["content"].as_str().unwrap();
    text.rsplit_once("\n\nQuestion: ").map_or(text, |(_, question)| question).to_owned()
}

/// The rows of a query that the model writes.
fn rows(client: &mut Client, sql: &str) -> Result<Vec<Value>, Error> {
    let rows = client.query("SELECT * FROM pg_llm_query('m', $1, '{\"max_attempts\": 1}')", &[&sql])?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// The error of a query that the model writes.
#[track_caller]
fn refused(client: &mut Client, sql: &str) -> DbError {
    match rows(client, sql) {
        Ok(rows) => panic!("{sql}: {rows:?}"),
        error => db_error(error),
    }
}

/// What the model was told with the latest question, as one text.
fn told(asked: &Asked) -> String {
    let sent = asked.sent();
    sent["messages"].as_array().unwrap().iter().find(|message| message["role"] == "user").unwrap()["content"].as_str().unwrap().to_owned()
}

fn answer(client: &mut Client, prompt: &str, options: &Value) -> Value {
    client.query_one("SELECT pg_llm_text2sql_json('m', $1, options => $2)", &[&prompt, options]).unwrap_or_else(|e| panic!("{e:?}")).get(0)
}
