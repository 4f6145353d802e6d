//! The ledger: whatever becomes of the statement that made a request, its row is there.

mod endings;
mod kinds;
mod reading;
mod servers;

use std::sync::OnceLock;

use pg_llm_tests::postgres::Client;
use pg_llm_tests::postgres::types::FromSqlOwned;
use pg_llm_tests::{Cluster, Database, Settings};
use pg_llm_upstream::{Upstream, openai};
use serde_json::{Value, json};

fn preloaded() -> Settings {
    Settings::for_models().lines(&["shared_preload_libraries = 'pg_llm'", "max_worker_processes = 32"])
}

/// Where a ledger is kept. Tests that stop or change it start their own.
fn keeping() -> &'static Cluster {
    static KEEPING: OnceLock<Cluster> = OnceLock::new();
    KEEPING.get_or_init(|| Cluster::start(&preloaded()))
}

/// A model `m` at an upstream of its own, and a superuser's session.
struct Kept<'c> {
    upstream: Upstream,
    database: Database<'c>,
    client: Client,
}

impl<'c> Kept<'c> {
    fn on(cluster: &'c Cluster) -> Self {
        let (upstream, database) = (Upstream::start(), cluster.database());
        upstream.on("/v1/chat/completions").reply(openai::completion("well"));
        let mut kept = Self { upstream, client: database.superuser(), database };
        kept.add("m", &json!({}));
        kept
    }

    fn new() -> Kept<'static> {
        Kept::on(keeping())
    }

    fn add(&mut self, name: &str, config: &Value) {
        let mut config = config.clone();
        config["api_endpoint"] = json!(format!("{}/v1", self.upstream.url()));
        self.client.execute("SELECT pg_llm_add_model('openai-compatible', $1, 'sk-test-0123456789', $2)", &[&name, &config]).unwrap();
    }

    fn chat(&mut self, sql: &str) {
        self.client.batch_execute(sql).unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    }

    /// All rows, in their order.
    fn rows(&mut self) -> Vec<Value> {
        rows_of(&mut self.client)
    }

    /// The only row.
    #[track_caller]
    fn row(&mut self) -> Value {
        let mut rows = self.rows();
        assert_eq!(rows.len(), 1, "{rows:#?}");
        rows.remove(0)
    }
}

fn flush(client: &mut Client) {
    assert!(value::<bool>(client, "SELECT pg_llm_flush_ledger()"), "the ledger is not written");
}

fn rows_of(client: &mut Client) -> Vec<Value> {
    flush(client);
    let rows = "SELECT to_jsonb(l) FROM _pg_llm_catalog.ledger l ORDER BY began_at, attempt, final";
    client.query(rows, &[]).unwrap().into_iter().map(|row| row.get(0)).collect()
}

#[track_caller]
fn value<T: FromSqlOwned>(client: &mut Client, sql: &str) -> T {
    client.query_one(sql, &[]).unwrap_or_else(|error| panic!("{sql}: {error:?}")).get(0)
}

/// These members of each.
fn members(rows: &[Value], names: &[&str]) -> Value {
    rows.iter().map(|row| names.iter().map(|name| row[name].clone()).collect::<Value>()).collect()
}
