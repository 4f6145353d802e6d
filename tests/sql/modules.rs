//! The life of an uploaded module: looked at, one version among others, switched off and on, limited, counted, removed.

mod filters;
mod inspection;
mod limits;
mod removal;
mod statistics;
mod switch;
mod uploading;
mod versions;

use std::sync::OnceLock;

use pg_llm_tests::postgres::types::{FromSqlOwned, ToSql};
use pg_llm_tests::postgres::{Client, error::DbError};
use pg_llm_tests::{Cluster, Database, Settings, db_error};
use serde_json::Value;

use crate::uploads::{Description, built};

/// A provider that answers, another module for each word: what the word changes is a section that nobody reads.
fn answering(word: &str) -> Vec<u8> {
    with_word(built("mock.wasm"), word)
}

/// A provider that traps when it is called.
fn trapping(word: &str) -> Vec<u8> {
    with_word(Description::default().component(), word)
}

fn with_word(mut component: Vec<u8>, word: &str) -> Vec<u8> {
    let body = [&[4][..], b"test", word.as_bytes()].concat();
    component.extend([0, u8::try_from(body.len()).unwrap()]);
    component.extend(body);
    component
}

#[track_caller]
fn sha256(client: &mut Client, bytes: &[u8]) -> String {
    value(client, "SELECT encode(sha256($1), 'hex')", &[&bytes])
}

/// Somebody who uploads modules, in a database of their own.
struct Library {
    database: Database<'static>,
    client: Client,
}

impl Library {
    fn new() -> Self {
        Self::on(Cluster::shared())
    }

    fn on(cluster: &'static Cluster) -> Self {
        let database = cluster.database();
        let client = database.superuser();
        Self { database, client }
    }

    /// A role that may upload and add models, and its session.
    fn uploader(&mut self) -> (String, Client) {
        let role = self.database.create_role();
        let grants = format!(
            "GRANT EXECUTE ON FUNCTION pg_llm_add_provider(text, bytea, text, jsonb), pg_llm_add_model(text, text, text, jsonb, bytea, text) TO {role}"
        );
        self.client.batch_execute(&grants).unwrap();
        let client = self.database.connect_as(&role);
        (role, client)
    }
}

impl Drop for Library {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.database.cluster().assert_no_crash();
        }
    }
}

/// A server that has the library preloaded.
fn preloaded() -> &'static Cluster {
    static CLUSTER: OnceLock<Cluster> = OnceLock::new();
    CLUSTER.get_or_init(|| Cluster::start(&Settings::for_models().line("shared_preload_libraries = 'pg_llm'")))
}

/// Uploads a module, and gives back its digest.
#[track_caller]
fn upload(client: &mut Client, name: &str, module: &[u8]) -> String {
    value::<bool>(client, "SELECT pg_llm_add_provider($1, $2)", &[&name, &module]);
    sha256(client, module)
}

#[track_caller]
fn value<T: FromSqlOwned>(client: &mut Client, sql: &str, parameters: &[&(dyn ToSql + Sync)]) -> T {
    client.query_one(sql, parameters).unwrap_or_else(|error| panic!("{sql}: {error:?}")).get(0)
}

#[track_caller]
fn refused(client: &mut Client, sql: &str, parameters: &[&(dyn ToSql + Sync)]) -> DbError {
    db_error(client.query_one(sql, parameters))
}

/// The SQLSTATE that a statement ends in; `00000` where it succeeds.
fn state(client: &mut Client, sql: &str, parameters: &[&(dyn ToSql + Sync)]) -> String {
    match client.query_one(sql, parameters) {
        Ok(_) => "00000".to_owned(),
        Err(error) => db_error::<()>(Err(error)).code().code().to_owned(),
    }
}

/// A row of `pg_llm_modules`.
#[track_caller]
fn row(client: &mut Client, digest: &str) -> Value {
    value(client, "SELECT to_jsonb(m) FROM pg_llm_modules m WHERE digest = $1", &[&digest])
}

/// The digest that is in force.
fn in_force(client: &mut Client, name: &str) -> String {
    value(client, "SELECT digest FROM pg_llm_providers WHERE model_type = $1", &[&name])
}

const ASK: &str = "SELECT pg_llm_chat('m', 'Hello')";
