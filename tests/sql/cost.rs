//! What a call costs: prices of the model's configuration, applied to what the provider counted.

use std::sync::{Arc, Mutex};

use pg_llm_tests::postgres::{Client, NoTls};
use pg_llm_tests::{Asked, db_error};
use pg_llm_upstream::{Reply, Upstream, openai};
use serde_json::{Value, json};

/// The upstream's completions count 7 prompt tokens and one for each word: these are exact.
const PRICE: fn() -> Value = || json!({"input": 2.5, "output": 10});

fn priced(config: Value) -> Asked {
    let asked = Asked::at(Upstream::start(), config);
    asked.upstream.on(Asked::PATH).reply(openai::completion("one two three"));
    asked
}

fn chat_json(asked: &mut Asked, options: &Value) -> Value {
    asked.chat_json("Hello", options).unwrap().unwrap()
}

/// A session that keeps what it is warned of.
fn listening(asked: &Asked) -> (Client, Arc<Mutex<Vec<String>>>) {
    let heard = Arc::new(Mutex::new(Vec::new()));
    let hears = Arc::clone(&heard);
    let mut config = asked.database.config();
    config.notice_callback(move |notice| hears.lock().unwrap().push(notice.message().to_owned()));
    (config.connect(NoTls).unwrap(), heard)
}

#[test]
fn a_call_costs_what_its_tokens_cost_to_the_last_digit() {
    let mut asked = priced(json!({"price": PRICE()}));
    let answer = chat_json(&mut asked, &json!({}));
    // 7 × 2.5 and 3 × 10, by the million.
    assert_eq!((answer["cost"].to_string(), &answer["currency"]), ("0.0000475".to_owned(), &json!("USD")));
    let sum: String = asked
        .value("SELECT sum((pg_llm_chat_json('m', 'Hello ' || i) ->> 'cost')::numeric)::text FROM generate_series(1, 3) AS i", &[])
        .unwrap();
    assert_eq!(sum, "0.0001425");
}

#[test]
fn pointers_into_the_providers_usage_are_priced_and_cached_tokens_are_cheaper() {
    let mut asked = priced(json!({"price": {"currency": "EUR", "per_million": [
        {"usage": "/prompt_tokens", "price": "2.50"},
        {"usage": "/prompt_tokens_details/cached_tokens", "price": -1.25},
        {"usage": "/completion_tokens", "price": 10},
    ]}}));
    let usage = json!({"prompt_tokens": 1000, "completion_tokens": 100, "prompt_tokens_details": {"cached_tokens": 400}});
    let message = json!({"role": "assistant", "content": "well"});
    asked.upstream.on(Asked::PATH).reply(Reply::json(200, openai::message_body(message, "stop", usage)));
    let answer = chat_json(&mut asked, &json!({}));
    assert_eq!((answer["cost"].to_string(), &answer["currency"]), ("0.003".to_owned(), &json!("EUR")));
}

#[test]
fn without_a_price_a_cost_is_null_and_nobody_is_warned() {
    let asked = priced(json!({}));
    let (mut client, heard) = listening(&asked);
    let answer: Value = client.query_one("SELECT pg_llm_chat_json('m', 'Hello')", &[]).unwrap().get(0);
    assert_eq!((&answer["cost"], &answer["currency"]), (&json!(null), &json!(null)));
    assert_eq!(*heard.lock().unwrap(), [""; 0]);
}

#[test]
fn a_cost_that_cannot_be_known_is_null_and_a_warning_once_a_statement() {
    let asked = priced(json!({"price": {"input": 1}}));
    let (mut client, heard) = listening(&asked);
    let sql = "SELECT count(*) FILTER (WHERE usage -> 'cost' = 'null') FROM pg_llm_chat_batch('m', ARRAY['a', 'b', 'c'])";
    for said in 1..=2 {
        assert_eq!(client.query_one(sql, &[]).unwrap().get::<_, i64>(0), 3);
        let warning = "pg_llm: the cost of a request to model \"m\" is not known: the model's price has no \"output\"";
        assert_eq!(*heard.lock().unwrap(), vec![warning; said]);
    }
}

#[test]
fn rows_candidates_and_streams_say_their_cost() {
    let mut asked = priced(json!({"price": PRICE()}));
    let usage: Value = asked.value("SELECT usage FROM pg_llm_chat_batch('m', ARRAY['Hello'])", &[]).unwrap();
    assert_eq!((usage["cost"].to_string(), &usage["input_tokens"]), ("0.0000475".to_owned(), &json!(7)));
    let parallel: Value = asked.value("SELECT pg_llm_parallel_chat_json('Hello', ARRAY['m', 'm'])", &[]).unwrap();
    assert_eq!(parallel["candidates"][1]["cost"].to_string(), "0.0000475");
    assert_eq!((parallel["usage_total"]["cost"].to_string(), &parallel["usage_total"]["currency"]), ("0.000095".to_owned(), &json!("USD")));
    asked.upstream.on(Asked::PATH).reply(openai::stream(&["a ", "b"]));
    let last: Value = asked.value("SELECT e FROM pg_llm_chat_stream_json('m', 'Hello') AS e WHERE e ->> 'type' = 'final'", &[]).unwrap();
    assert_eq!(last["cost"].to_string(), "0.0000375");
}

#[test]
fn an_answer_out_of_the_cache_costs_nothing() {
    let mut asked = priced(json!({"price": PRICE()}));
    assert_eq!(chat_json(&mut asked, &json!({"cache": true}))["cost"].to_string(), "0.0000475");
    let kept = chat_json(&mut asked, &json!({"cache": true}));
    assert_eq!((&kept["cached"], &kept["cost"]), (&json!(true), &json!(0)));
}

#[test]
fn all_requests_of_a_call_are_paid_and_errors_are_not() {
    let mut asked = priced(json!({"price": PRICE()}));
    let schema = json!({"type": "object", "required": ["a"], "properties": {"a": {"type": "integer"}}});
    let options = json!({"response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": schema}}});
    asked.upstream.on(Asked::PATH).reply(openai::completion("{\"a\": \"no\"}")).reply(openai::completion("{\"a\": 1}"));
    let repaired = chat_json(&mut asked, &options);
    assert_eq!((repaired["attempts"].clone(), repaired["cost"].to_string()), (json!(2), "0.000075".to_owned()));
    asked.upstream.on(Asked::PATH).reply(openai::error(503, "overloaded", "busy", "Busy.")).reply(openai::completion("one two three"));
    let retried = chat_json(&mut asked, &json!({}));
    assert_eq!((retried["attempts"].clone(), retried["cost"].to_string()), (json!(2), "0.0000475".to_owned()));
}

#[test]
fn what_an_unsure_model_took_is_part_of_the_cost() {
    let mut asked = priced(json!({}));
    let tokens = json!([{"token": "x", "logprob": -3.0, "bytes": null, "top_logprobs": []}]);
    let mut unsure = openai::completion_body("one two three");
    unsure["choices"][0]["logprobs"] = json!({"content": tokens});
    asked.add("openai-compatible", "other", &json!({"price": {"input": 1, "output": 1}}));
    asked.add(
        "openai-compatible",
        "m",
        &json!({"price": PRICE(), "fallback_instance": "other", "confidence_threshold": 0.9, "logprobs": true}),
    );
    asked.upstream.on(Asked::PATH).reply(Reply::json(200, unsure)).reply(openai::completion("sure"));
    let answer = chat_json(&mut asked, &json!({}));
    assert_eq!(answer["fallback_used"], json!(true), "{answer}");
    // 0.0000475 of the one, 8 tokens of the other.
    assert_eq!(
        (answer["cost"].to_string(), answer["fallback_from"][0]["usage"]["cost"].to_string()),
        ("0.0000555".to_owned(), "0.0000475".to_owned())
    );
}

#[test]
fn embeddings_need_no_price_of_output() {
    let mut asked = priced(json!({"price": {"input": 0.02}}));
    asked.upstream.on("/v1/embeddings").reply(openai::embeddings(&[&[1.0, 2.0]]));
    let (mut client, heard) = listening(&asked);
    client.query_one("SELECT pg_llm_get_embedding('m', 'Hello')::text", &[]).unwrap();
    assert_eq!(*heard.lock().unwrap(), [""; 0]);
    let usage: Value = asked.value("SELECT usage FROM pg_llm_map_embeddings('m', $$SELECT 1, 'Hello'$$)", &[]).unwrap();
    assert_eq!(usage["cost"].to_string(), "0.00000006");
}

#[test]
fn a_price_that_is_none_is_refused() {
    let mut asked = priced(json!({}));
    for price in [
        json!({}),
        json!({"input": -1}),
        json!({"cached_input": 1}),
        json!({"inptu": 1}),
        json!({"per_million": [{"usage": "x", "price": 1}]}),
    ] {
        let error = db_error(asked.client.execute("SELECT pg_llm_add_model('mock', 'x', NULL, $1)", &[&json!({"price": price})]));
        assert_eq!(error.code().code(), "22023", "{price}: {}", error.message());
    }
    let (state, message) = {
        let error = db_error(asked.chat("Hello", &json!({"price": PRICE()})));
        (error.code().code().to_owned(), error.message().to_owned())
    };
    assert_eq!(state, "22023", "a call has no price of its own: {message}");
}
