//! What is kept, and that it comes back as it was.

use pg_llm_tests::{Asked, DEADLINE, Running, db_error};
use pg_llm_upstream::{Reply, Upstream, openai};
use serde_json::{Value, json};

use super::{ask, asked_for, entries, value};

const CACHED: &str = "{\"cache\": true}";

fn at(upstream: Upstream) -> Asked {
    Asked::at(upstream, json!({}))
}

/// Without what differs between an answer and the same out of the cache.
fn lasting(mut answer: Value) -> Value {
    for name in ["request_id", "latency_ms", "attempts", "cached", "cost"] {
        answer.as_object_mut().unwrap().remove(name);
    }
    answer
}

#[test]
fn an_answer_that_was_cut_off_or_held_back_is_not_kept() {
    let upstream = Upstream::start();
    let message = json!({"role": "assistant", "content": "half a"});
    let finished = |reason: &str| Reply::json(200, openai::message_body(message.clone(), reason, openai::usage(1, 1)));
    upstream
        .on(Asked::PATH)
        .reply(finished("length"))
        .reply(finished("content_filter"))
        .reply(finished("insomnia"))
        .reply(finished("stop"));
    let mut asked = at(upstream);
    for (reason, kept) in [("length", 0), ("content_filter", 0), ("insomnia", 0), ("stop", 1)] {
        let answer = ask(&mut asked.client, "Hello", &json!({"cache": true}));
        assert_eq!((&answer["finish_reason"], &answer["cached"]), (&json!(reason), &json!(false)));
        assert_eq!(entries(&mut asked.client), kept);
    }
    assert_eq!(ask(&mut asked.client, "Hello", &json!({"cache": true}))["cached"], json!(true));
}

#[test]
fn a_failure_is_not_kept_whatever_it_becomes() {
    let upstream = Upstream::start();
    let refused = || openai::error(400, "invalid_request_error", "no", "No.");
    upstream
        .on(Asked::PATH)
        .reply(refused())
        .reply(refused())
        .reply(refused())
        .reply(Reply::reset())
        .reply(openai::malformed())
        .reply(openai::completion("well"));
    let mut asked = at(upstream);
    assert_eq!(db_error(asked.chat("Hello", &json!({"cache": true}))).code().code(), "38000");
    assert_eq!(asked.chat("Hello", &json!({"cache": true, "on_error": "null"})).unwrap(), None);
    assert!(asked.chat_json("Hello", &json!({"cache": true, "on_error": "object"})).unwrap().unwrap()["error"].is_object());
    for _ in 0..2 {
        assert!(asked.chat("Hello", &json!({"cache": true, "max_attempts": 1})).is_err());
    }
    assert_eq!(entries(&mut asked.client), 0);
    assert_eq!(asked.chat("Hello", &json!({"cache": true})).unwrap().as_deref(), Some("well"));
    // What is there is given even where the model would fail now.
    asked.upstream.on(Asked::PATH).reply(refused());
    assert_eq!(asked.chat("Hello", &json!({"cache": true})).unwrap().as_deref(), Some("well"));
}

#[test]
fn a_call_that_is_cancelled_is_not_kept() {
    let upstream = Upstream::start();
    upstream.on(Asked::PATH).reply(Reply::hang()).reply(openai::completion("well"));
    let mut asked = at(upstream);
    let call = Running::start(asked.database.superuser(), &format!("SELECT pg_llm_chat('m', 'Hello', '{CACHED}')"));
    assert!(asked.upstream.wait_for_requests(1, DEADLINE));
    call.cancel();
    assert_eq!(db_error(call.finish(DEADLINE).result).code().code(), "57014");
    assert_eq!(entries(&mut asked.client), 0);
    assert_eq!(ask(&mut asked.client, "Hello", &json!({"cache": true}))["cached"], json!(false));
}

#[test]
fn tool_calls_thinking_usage_and_logprobs_come_back_to_the_digit() {
    let upstream = Upstream::start();
    let call = json!({"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{\"n\": 1.10, \"big\": 123456789012345678901234567890}"}});
    let mut body = openai::message_body(
        json!({"role": "assistant", "content": "Gr\u{fc}\u{df}e \u{1f980}\u{0} end", "reasoning_content": "hm", "tool_calls": [call]}),
        "tool_calls",
        openai::usage(7, 5),
    );
    let token = |logprob: f64| json!({"token": "a", "logprob": logprob, "bytes": null, "top_logprobs": [{"token": "b", "logprob": logprob - 0.1, "bytes": null}]});
    body["choices"][0]["logprobs"] = json!({"content": [token(-0.1 - 0.2), token(-1e-9), token(-std::f64::consts::PI)]});
    body["usage"]["odd"] = serde_json::from_str("1.2300").unwrap();
    upstream.on(Asked::PATH).reply(Reply::json(200, body));
    let mut asked = at(upstream);
    let options = json!({"cache": true, "logprobs": 1, "tools": [{"name": "f"}]});
    // As text: jsonb's own digits.
    let text = |asked: &mut Asked, options: &Value| -> String {
        value(
            &mut asked.client,
            "SELECT (pg_llm_chat_json('m', 'Hello', $1) - '{request_id,latency_ms,attempts,cached,cost}'::text[])::text",
            &[options],
        )
    };
    for options in [options.clone(), json!({"cache": true, "logprobs": 1, "tools": [{"name": "f"}], "include_raw": true})] {
        let first = text(&mut asked, &options);
        assert!(first.contains("123456789012345678901234567890") && first.contains("1.10"), "{first}");
        assert_eq!(text(&mut asked, &options), first);
        let again = ask(&mut asked.client, "Hello", &options);
        assert_eq!((&again["cached"], again["confidence_score"].is_number()), (&json!(true), true));
        assert_eq!(again.get("raw").is_some(), options.get("include_raw").is_some());
    }
    assert_eq!(asked_for(&asked), 2, "an answer with raw is another");
}

#[test]
fn structured_answers_come_back_parsed() {
    let upstream = Upstream::start();
    upstream.on(Asked::PATH).reply(openai::completion("Here: ```json\n{\"n\": 1.50}\n```"));
    let mut asked = at(upstream);
    let schema = json!({"type": "object", "properties": {"n": {"type": "number"}}, "required": ["n"]});
    for format in [json!("json"), schema] {
        let options = json!({"cache": true, "response_format": format});
        let first = ask(&mut asked.client, "Hello", &options);
        let second = ask(&mut asked.client, "Hello", &options);
        assert_eq!((&first["cached"], &second["cached"]), (&json!(false), &json!(true)));
        assert_eq!(second["parsed"].to_string(), "{\"n\":1.50}");
        assert_eq!(lasting(first), lasting(second));
    }
}

#[test]
fn a_damaged_entry_is_a_miss_and_is_replaced() {
    let mut asked = Asked::echo();
    let options = json!({"cache": true});
    ask(&mut asked.client, "Hello", &options);
    let whole: Vec<u8> = value(&mut asked.client, "SELECT answer FROM _pg_llm_catalog.response_cache", &[]);
    let mut nonsense: Vec<Vec<u8>> = vec![vec![], vec![0], vec![0xff; 100], b"{\"response\": \"x\"}".to_vec(), vec![0; 100_000]];
    nonsense.extend((1..whole.len()).step_by(7).map(|end| whole[..end].to_vec()));
    let mut longer = whole.clone();
    longer.push(0);
    nonsense.push(longer);
    // A length of all ones in each place.
    for place in (0..whole.len() - 8).step_by(5) {
        let mut lying = whole.clone();
        lying[place..place + 8].fill(0xff);
        nonsense.push(lying);
    }
    for bytes in nonsense {
        asked.client.execute("UPDATE _pg_llm_catalog.response_cache SET answer = $1", &[&bytes]).unwrap();
        let answer = ask(&mut asked.client, "Hello", &options);
        if answer["cached"] == json!(false) {
            assert_eq!(answer["response"], json!("You said: Hello"));
            let mended: Vec<u8> = value(&mut asked.client, "SELECT answer FROM _pg_llm_catalog.response_cache", &[]);
            assert_eq!(mended.len(), whole.len(), "it is replaced");
        }
    }
    // An answer in a form that the call has not asked for is none either.
    asked.client.execute("UPDATE _pg_llm_catalog.response_cache SET answer = $1", &[&whole]).unwrap();
    let schema = json!({"cache": true, "response_format": {"type": "object"}, "on_error": "null"});
    asked.upstream.next(openai::completion("{}"));
    ask(&mut asked.client, "Hello", &schema);
    asked.client.execute("UPDATE _pg_llm_catalog.response_cache SET answer = $1", &[&whole]).unwrap();
    asked.upstream.next(openai::completion("{\"a\": 1}"));
    let answer = ask(&mut asked.client, "Hello", &schema);
    assert_eq!((&answer["cached"], &answer["parsed"]), (&json!(false), &json!({"a": 1})));
    asked.database.cluster().assert_no_crash();
}
