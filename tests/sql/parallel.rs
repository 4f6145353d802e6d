//! Several models at the same time: who wins, who said what, and what becomes of the others.

mod attribution;
mod failures;
mod fallback;
mod guests;
mod judges;
mod limits;
mod models;
mod nesting;
mod sessions;
mod strategies;
mod threads;
mod votes;

use pg_llm_tests::{
    Cluster, Database,
    postgres::{self, Client},
};
use pg_llm_upstream::{Reply, Upstream, openai};
use serde_json::{Value, json};

/// Models `m1`, `m2`, ..., each with an upstream of its own.
struct Panel {
    upstreams: Vec<Upstream>,
    client: Client,
    database: Database<'static>,
}

/// Longer than any test runs.
const FOR_EVER_MS: u32 = 600_000;

impl Panel {
    /// That answer so.
    fn of(replies: impl IntoIterator<Item = Reply>) -> Self {
        let database = Cluster::shared().database();
        let client = database.superuser();
        let mut panel = Self { upstreams: Vec::new(), client, database };
        for reply in replies {
            let upstream = Upstream::start();
            upstream.on("/chat/completions").reply(reply);
            panel.upstreams.push(upstream);
            let (name, url) = (format!("m{}", panel.upstreams.len()), panel.upstreams[panel.upstreams.len() - 1].url());
            panel.add(&name, &url, json!({}));
        }
        panel
    }

    fn saying(texts: &[&str]) -> Self {
        Self::of(texts.iter().map(|text| openai::completion(text)))
    }

    #[allow(clippy::needless_pass_by_value, reason = "a JSON literal is given away")]
    fn add(&mut self, name: &str, url: &str, config: Value) {
        let mut whole = json!({"api_endpoint": url, "max_attempts": 1, "timeout_ms": FOR_EVER_MS});
        whole.as_object_mut().unwrap().extend(config.as_object().unwrap().clone());
        self.client.execute("SELECT pg_llm_add_model('openai-compatible', $1, 'sk-test-key', $2)", &[&name, &whole]).unwrap();
    }

    fn names(&self) -> Vec<String> {
        (1..=self.upstreams.len()).map(|n| format!("m{n}")).collect()
    }

    fn try_json(&mut self, options: &Value) -> Result<Option<Value>, postgres::Error> {
        let names = self.names();
        self.client.query_one("SELECT pg_llm_parallel_chat_json('Which?', $1, $2)", &[&names, options]).map(|row| row.get(0))
    }

    #[track_caller]
    #[allow(clippy::needless_pass_by_value, reason = "a JSON literal is given away")]
    fn json(&mut self, options: Value) -> Value {
        self.try_json(&options).unwrap_or_else(|error| panic!("{error:?}")).expect("an answer")
    }

    fn requests(&self) -> Vec<u64> {
        self.upstreams.iter().map(|upstream| upstream.observe(|seen| seen.requests_total)).collect()
    }
}

/// An answer of one token with this probability.
fn sure(text: &str, probability: f64) -> Reply {
    let mut body = openai::completion_body(text);
    body["choices"][0]["logprobs"] = json!({"content": [{"token": text, "logprob": probability.ln(), "bytes": null, "top_logprobs": []}]});
    Reply::json(200, body)
}

/// One key of all candidates.
fn each(answer: &Value, key: &str) -> Vec<Value> {
    answer["candidates"].as_array().unwrap().iter().map(|candidate| candidate[key].clone()).collect()
}
