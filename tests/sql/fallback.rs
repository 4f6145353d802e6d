//! Models that answer in place of others: who, when, with what, and what is told of it.
//!
//! The called model is `m`; the others are named by letters, each at an upstream of its own, so that each upstream shows who was asked.

mod chain;
mod confidence;
mod rights;
mod streams;
mod time;

use pg_llm_tests::Asked;
use pg_llm_upstream::{Reply, Upstream, openai};
use serde_json::{Value, json};

/// `m`, which answers so and has this configuration.
fn asked(reply: Reply, config: &Value) -> Asked {
    let upstream = Upstream::start();
    upstream.on(Asked::PATH).reply(reply);
    Asked::at(upstream, config.clone())
}

/// Another model, at an upstream that answers so.
fn another(asked: &mut Asked, name: &str, reply: Reply, config: &Value) -> Upstream {
    let upstream = Upstream::start();
    upstream.on(Asked::PATH).reply(reply);
    let mut config = config.clone();
    config["api_endpoint"] = json!(format!("{}/v1", upstream.url()));
    asked.client.execute("SELECT pg_llm_add_model('openai-compatible', $1, $2, $3)", &[&name, &Asked::KEY, &config]).unwrap();
    upstream
}

/// The provider failed, and says that it would again.
fn failing() -> Reply {
    openai::error(500, "some_error", "some_code", "Out of order.").header("x-should-retry", "false")
}

/// `pg_llm_chat_json` of `m`.
#[track_caller]
fn answer(asked: &mut Asked, options: &Value) -> Value {
    asked.chat_json("Hello", options).unwrap_or_else(|error| panic!("{options}: {error:?}")).unwrap()
}

/// Who answered, and whether that is a fallback.
fn who(answer: &Value) -> (&str, bool) {
    (answer["instance_name"].as_str().unwrap_or_default(), answer["fallback_used"] == json!(true))
}

/// How many requests came to each.
fn requests<const N: usize>(upstreams: [&Upstream; N]) -> [usize; N] {
    upstreams.map(|upstream| upstream.requests().len())
}
