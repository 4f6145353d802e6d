//! A model at an upstream, and somebody who asks it.

use pg_llm_upstream::Upstream;
use postgres::{Client, types::ToSql};
use serde_json::{Value, json};

use crate::Database;

/// A model named `m`, of type `openai-compatible`, with the key [`Asked::KEY`], at an upstream of its own, in a fresh
/// database; and a superuser's session to ask it in.
pub struct Asked {
    /// What is behind the model, at `/v1`.
    pub upstream: Upstream,
    /// The session.
    pub client: Client,
    /// Where all this is.
    pub database: Database<'static>,
}

impl Asked {
    /// The key of the model.
    pub const KEY: &'static str = "sk-test-0123456789";
    /// The path of its calls.
    pub const PATH: &'static str = "/v1/chat/completions";

    /// A model that says what it is told ([`Upstream::start_echo`]).
    pub fn echo() -> Self {
        Self::at(Upstream::start_echo(), json!({}))
    }

    /// A model at this upstream, with this configuration besides `api_endpoint`.
    #[allow(clippy::needless_pass_by_value, reason = "a JSON literal is given away")]
    pub fn at(upstream: Upstream, config: Value) -> Self {
        let database = crate::Cluster::shared().database();
        let client = database.superuser();
        let mut asked = Self { upstream, client, database };
        asked.add("openai-compatible", "m", &config);
        asked
    }

    /// Adds a model at the upstream, or changes it.
    pub fn add(&mut self, model_type: &str, name: &str, config: &Value) {
        let mut config = config.clone();
        config["api_endpoint"] = json!(format!("{}/v1", self.upstream.url()));
        self.client
            .execute("SELECT pg_llm_add_model($1, $2, $3, $4)", &[&model_type, &name, &Self::KEY, &config])
            .unwrap_or_else(|error| panic!("adding the model {name}: {error:?}"));
    }

    /// The value of a statement: `SELECT` one column of one row.
    pub fn value<'a, T: postgres::types::FromSqlOwned>(
        &'a mut self,
        sql: &str,
        parameters: &'a [&(dyn ToSql + Sync)],
    ) -> Result<T, postgres::Error> {
        self.client.query_one(sql, parameters).map(|row| row.get(0))
    }

    /// `pg_llm_chat` without options, as text that is not NULL.
    #[track_caller]
    pub fn says(&mut self, prompt: &str) -> String {
        let said: Option<String> = self.value("SELECT pg_llm_chat('m', $1)", &[&prompt]).unwrap_or_else(|error| panic!("{error:?}"));
        said.expect("an answer")
    }

    /// `pg_llm_chat` with options.
    pub fn chat(&mut self, prompt: &str, options: &Value) -> Result<Option<String>, postgres::Error> {
        self.value("SELECT pg_llm_chat('m', $1, $2)", &[&prompt, options])
    }

    /// `pg_llm_chat_json` with options.
    pub fn chat_json(&mut self, prompt: &str, options: &Value) -> Result<Option<Value>, postgres::Error> {
        self.value("SELECT pg_llm_chat_json('m', $1, $2)", &[&prompt, options])
    }

    /// The body of the latest request.
    #[track_caller]
    pub fn sent(&self) -> Value {
        self.upstream.last_request().expect("a request").json()
    }
}
