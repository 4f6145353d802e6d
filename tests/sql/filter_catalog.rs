//! Filters as objects of the database: added, uploaded, listed, changed, removed, by whom, and by two at once. What they do to a call is in `filters.rs`.

mod adding;
mod configuration;
mod naming;
mod races;
mod remembered;
mod rights;
mod survival;
mod uploading;

use pg_llm_tests::postgres::types::{FromSqlOwned, ToSql};
use pg_llm_tests::postgres::{Client, Error, error::DbError};
use pg_llm_tests::{Backend, Cluster, Database, db_error};
use serde_json::{Value, json};

const ADD: &str = "pg_llm_add_filter(text, bytea, jsonb, text, text)";
const UPLOAD: &str = "pg_llm_add_provider(text, bytea, text, jsonb)";

/// Somebody with filters.
struct Owner {
    client: Client,
    database: Database<'static>,
    backend: Backend,
}

impl Owner {
    /// A superuser in a fresh database.
    fn new() -> Self {
        let database = Cluster::shared().database();
        let mut client = database.superuser();
        let backend = Backend::of(&mut client);
        Self { client, database, backend }
    }

    fn value<T: FromSqlOwned>(&mut self, sql: &str) -> T {
        value(&mut self.client, sql, &[])
    }

    /// What a filter's row of the view says.
    #[track_caller]
    fn shown(&mut self, name: &str) -> Value {
        value(&mut self.client, "SELECT to_jsonb(f) FROM pg_llm_filters f WHERE name = $1", &[&name])
    }

    fn names(&mut self) -> Vec<String> {
        self.value("SELECT coalesce(array_agg(name ORDER BY name), '{}') FROM pg_llm_filters WHERE NOT builtin")
    }

    fn modules(&mut self) -> i64 {
        self.value("SELECT count(*) FROM _pg_llm_catalog.modules")
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            assert_eq!(Backend::of(&mut self.client), self.backend, "another backend");
            self.database.cluster().assert_no_crash();
        }
    }
}

#[track_caller]
fn value<T: FromSqlOwned>(client: &mut Client, sql: &str, parameters: &[&(dyn ToSql + Sync)]) -> T {
    client.query_one(sql, parameters).unwrap_or_else(|error| panic!("{sql}: {error:?}")).get(0)
}

/// Adds a filter of this type.
fn add(client: &mut Client, name: &str, filter_type: &str, config: &Value) -> Result<bool, Error> {
    client.query_one("SELECT pg_llm_add_filter($1, filter_type => $2, config => $3)", &[&name, &filter_type, config]).map(|row| row.get(0))
}

/// Adds a filter whose component is uploaded.
fn upload(client: &mut Client, name: &str, module: &[u8], config: &Value) -> Result<bool, Error> {
    client.query_one("SELECT pg_llm_add_filter($1, $2, $3)", &[&name, &module, config]).map(|row| row.get(0))
}

fn remove(client: &mut Client, name: &str) -> Result<bool, Error> {
    client.query_one("SELECT pg_llm_remove_filter($1)", &[&name]).map(|row| row.get(0))
}

/// A statement's error, which is of this state and has these words somewhere.
#[track_caller]
fn fails<T>(result: Result<T, Error>, state: &str, words: &str) -> DbError {
    let error = db_error(result);
    let said = format!("{} {} {}", error.message(), error.detail().unwrap_or_default(), error.hint().unwrap_or_default());
    assert!(error.code().code() == state && said.contains(words), "{state} with \"{words}\" is not {error:?}");
    error
}

fn of_length(max: u32) -> Value {
    json!({"prompt": {"max": max}})
}
