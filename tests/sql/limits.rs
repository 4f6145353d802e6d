//! How much a model may be asked: over all sessions where the library is preloaded, in each session where it is not.
//!
//! Nothing here measures time: what waits is seen waiting, in the view, and rates are a call an hour or a thousand at once.

mod breaker;
mod doctor;
mod given_back;
mod rates;
mod sharing;
mod view;
mod waiting;

use std::sync::OnceLock;

use pg_llm_tests::postgres::Client;
use pg_llm_tests::{Cluster, DEADLINE, Database, Running, Settings, db_error, eventually};
use pg_llm_upstream::{Gate, Upstream, openai};
use serde_json::{Value, json};

const PATH: &str = "/v1/chat/completions";

fn preloaded() -> Settings {
    Settings::for_models().line("shared_preload_libraries = 'pg_llm'")
}

/// Where sessions share limits. Tests that crash or restart it start their own.
fn sharing() -> &'static Cluster {
    static SHARING: OnceLock<Cluster> = OnceLock::new();
    SHARING.get_or_init(|| Cluster::start(&preloaded()))
}

/// A model `m` with limits.
struct Limited {
    upstream: Upstream,
    database: Database<'static>,
}

impl Limited {
    fn new(config: &Value) -> Self {
        Self::on(sharing(), config)
    }

    fn on(cluster: &'static Cluster, config: &Value) -> Self {
        let (upstream, database) = (Upstream::start(), cluster.database());
        upstream.on(PATH).reply(openai::completion("well"));
        let limited = Self { upstream, database };
        limited.add(config);
        limited
    }

    /// Adds the model, or changes it.
    fn add(&self, config: &Value) {
        add_model(&mut self.database.superuser(), &self.upstream, config);
    }

    fn session(&self) -> Client {
        self.database.superuser()
    }

    /// The next answers come when the gate lets them.
    fn held_up(&self) -> Gate {
        let gate = Gate::new();
        self.upstream.on(PATH).reply(openai::completion("well").gated(&gate));
        gate
    }

    /// A call that the upstream has.
    fn call_in_flight(&self) -> Running {
        let before = self.requests();
        let call = Running::start(self.session(), "SELECT pg_llm_chat('m', 'Hello')");
        assert!(self.upstream.wait_for_requests(before + 1, DEADLINE), "the upstream was not asked");
        call
    }

    /// A call that waits to be let in.
    fn call_waiting(&self, sql: &str) -> Running {
        let before = self.number("waiting");
        let call = Running::start(self.session(), sql);
        assert!(eventually(DEADLINE, || self.number("waiting") > before), "it does not wait: {:?}", self.stat());
        call
    }

    fn requests(&self) -> u64 {
        self.upstream.observe(|observed| observed.requests_total)
    }

    /// The model's row of the view, seen by another session.
    fn stat(&self) -> Value {
        stat(&mut self.session())
    }

    fn number(&self, column: &str) -> i64 {
        self.stat()[column].as_i64().unwrap_or_else(|| panic!("no {column}: {}", self.stat()))
    }

    /// Nobody is in flight or waits any more, and the model can be called.
    #[track_caller]
    fn is_free(&self) {
        assert!(eventually(DEADLINE, || self.number("in_flight") == 0 && self.number("waiting") == 0), "{}", self.stat());
        self.upstream.on(PATH).reply(openai::completion("well"));
        assert_eq!(says(&mut self.session()), "well");
    }
}

fn add_model(client: &mut Client, upstream: &Upstream, config: &Value) {
    let mut config = config.clone();
    config["api_endpoint"] = json!(format!("{}/v1", upstream.url()));
    client.execute("SELECT pg_llm_add_model('openai-compatible', 'm', 'sk-test-of-limits', $1)", &[&config]).unwrap();
}

fn stat(client: &mut Client) -> Value {
    client.query_one("SELECT to_jsonb(s) FROM pg_llm_stat_limits s WHERE instance_name = 'm'", &[]).unwrap().get(0)
}

fn says(client: &mut Client) -> String {
    client.query_one("SELECT pg_llm_chat('m', 'Hello')", &[]).unwrap_or_else(|error| panic!("{error:?}")).get(0)
}

/// SQLSTATE, message and detail of a call that fails.
#[track_caller]
fn refused(client: &mut Client, options: &Value) -> (String, String, String) {
    let error = db_error(client.query_one("SELECT pg_llm_chat('m', 'Hello', $1)", &[options]));
    (error.code().code().to_owned(), error.message().to_owned(), error.detail().unwrap_or_default().to_owned())
}
