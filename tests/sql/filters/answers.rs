//! Chats, whole and streamed, in parallel, and out of the cache.

use pg_llm_tests::db_error;
use pg_llm_upstream::{Upstream, openai};
use serde_json::{Value, json};

use super::{EMAIL, INJECTION, blocked, commits, model, sent};

#[test]
fn a_models_filters_stand_around_every_chat_and_a_call_adds_more() {
    let mut asked = model(json!(["pii-both"]));
    assert_eq!(asked.says(&format!("I am {EMAIL}")), format!("I am {EMAIL}"), "the echo is restored");
    assert!(!sent(&asked.upstream).contains(EMAIL) && sent(&asked.upstream).contains("[EMAIL_1]"));
    let answer = asked.chat_json(&format!("I am {EMAIL}"), &json!({"filters": ["secret-redact"]})).unwrap().unwrap();
    let done = |side: &str| json!({"name": "pii-both", "side": side, "action": "changed"});
    assert_eq!(answer["filters"], json!([done("prompt"), done("response")]));
    blocked(asked.chat(INJECTION, &json!({"filters": ["prompt-guard"]})), "prompt-guard", "prompt");
    // An empty list, or none, takes nothing away.
    for options in [json!({"filters": []}), json!({"filters": null}), json!({})] {
        asked.chat(&format!("again {EMAIL}"), &options).unwrap();
        assert!(!sent(&asked.upstream).contains(EMAIL), "{options}");
    }
    assert_eq!(asked.value::<Option<String>>("SELECT pg_llm_chat('m', NULL, '{\"filters\": [\"prompt-guard\"]}')", &[]).unwrap(), None);
}

#[test]
fn wrong_lists_and_unknown_names_are_refused_before_anything_is_sent() {
    let mut asked = model(json!([]));
    for (filters, state) in [
        (json!("pii-redact"), "22023"),
        (json!([null]), "22023"),
        (json!([1]), "22023"),
        (json!([""]), "22023"),
        (json!({}), "22023"),
        (json!(vec!["pii-redact"; 17]), "22023"),
        (json!(["pii-redct"]), "42704"),
    ] {
        let error = db_error(asked.chat("x", &json!({"filters": filters})));
        assert_eq!(error.code().code(), state, "{filters}: {error:?}");
        let add = "SELECT pg_llm_add_model('mock', 'n', NULL, $1)";
        let error = db_error(asked.value::<bool>(add, &[&json!({"filters": filters})]));
        assert_eq!(error.code().code(), state, "{filters}: {error:?}");
    }
    for on_filter_error in [json!("passs"), json!(true), json!([])] {
        let config = json!({"on_filter_error": on_filter_error});
        let error = db_error(asked.value::<bool>("SELECT pg_llm_add_model('mock', 'n', NULL, $1)", &[&config]));
        assert_eq!(error.code().code(), "22023", "{error:?}");
        // It is the model's owner who says so.
        assert_eq!(db_error(asked.chat("x", &config)).code().code(), "22023");
    }
    assert!(asked.upstream.requests().is_empty());
}

#[test]
fn what_is_blocked_is_refused_with_the_reason_and_without_the_prompt() {
    let mut asked = model(json!(["prompt-guard"]));
    let prompt = format!("My password is hunter2-swordfish. {INJECTION}");
    let error = blocked(asked.chat(&prompt, &json!({})), "prompt-guard", "prompt");
    assert!(!format!("{error:?}").contains("swordfish"), "{error:?}");
    let object = asked.chat_json(&prompt, &json!({"on_error": "object"})).unwrap().unwrap();
    assert_eq!(
        (&object["error"]["kind"], &object["error"]["sqlstate"], &object["attempts"]),
        (&json!("blocked"), &json!("42501"), &json!(0))
    );
    assert!(!object.to_string().contains("swordfish"));
    assert_eq!(asked.chat(&prompt, &json!({"on_error": "null"})).unwrap(), None);
    blocked(asked.client.query("SELECT * FROM pg_llm_chat_stream('m', $1)", &[&prompt]), "prompt-guard", "prompt");
    assert!(asked.upstream.requests().is_empty());
}

#[test]
fn a_stream_shows_nothing_that_its_filters_replace_wherever_it_is_cut() {
    let mut asked = model(json!(["secret-redact", "pii-both"]));
    let key = "sk-proj-Zx8Kq2vN7tRw4YbM9cLd3FgH6jPs1AuE5iOoZx8Kq2vN7tRw";
    let text = format!("To [EMAIL_1]: {key}, and done.");
    let upstream = Upstream::start();
    let (url, filters) = (format!("{}/v1", upstream.url()), json!(["secret-redact", "pii-both"]));
    let add =
        "SELECT pg_llm_add_model('openai-compatible', 's', 'sk-test', jsonb_build_object('api_endpoint', $1::text, 'filters', $2::jsonb))";
    asked.client.execute(add, &[&url, &filters]).unwrap();
    for at in 1..text.len() {
        upstream.on("/v1/chat/completions").reply(openai::stream(&[&text[..at], &text[at..]]));
        let rows = asked.client.query("SELECT chunk, is_final FROM pg_llm_chat_stream('s', $1)", &[&format!("x {EMAIL}")]).unwrap();
        let chunks: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
        assert_eq!(chunks.concat(), format!("To {EMAIL}: [API_KEY], and done."), "{at}");
        assert!(chunks.iter().all(|chunk| !chunk.contains("sk-proj")), "{chunks:?}");
        assert!(rows.last().unwrap().get::<_, bool>(1));
    }
    assert!(!sent(&upstream).contains(EMAIL));
}

#[test]
fn the_provider_s_own_words_of_a_filtered_answer_are_not_shown() {
    let mut asked = model(json!(["pii-answers"]));
    asked.upstream.on("/v1/chat/completions").reply(openai::completion(&format!("ask {EMAIL}")));
    let answer = asked.chat_json("x", &json!({"include_raw": true, "logprobs": true})).unwrap().unwrap();
    assert_eq!((&answer["response"], &answer["raw"], &answer["logprobs"]), (&json!("ask [EMAIL]"), &Value::Null, &Value::Null));
    assert!(!answer.to_string().contains(EMAIL));
}

#[test]
fn the_cache_has_what_filters_let_through_and_follows_a_change_of_theirs() {
    let mut asked = model(json!(["pii-answers"]));
    asked.upstream.otherwise(|_| openai::completion(&format!("ask {EMAIL}")));
    let cached = |asked: &mut pg_llm_tests::Asked, filters: Value| {
        let answer = asked.chat_json("x", &json!({"cache": true, "filters": filters})).unwrap().unwrap();
        (answer["cached"].as_bool().unwrap(), answer["response"].as_str().unwrap().to_owned())
    };
    let redacted = "ask [EMAIL]".to_owned();
    assert_eq!(cached(&mut asked, json!([])), (false, redacted.clone()));
    assert_eq!(cached(&mut asked, json!([])), (true, redacted.clone()));
    let kept: String = asked.value("SELECT string_agg(c::text, '') FROM _pg_llm_catalog.response_cache c", &[]).unwrap();
    let hex: String = EMAIL.bytes().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"));
    assert!(!kept.contains(EMAIL) && !kept.contains(&hex), "{kept}");
    // Another chain, another answer.
    assert_eq!(cached(&mut asked, json!(["prompt-guard"])), (false, redacted.clone()));
    asked
        .value::<bool>(
            "SELECT pg_llm_add_filter('pii-answers', filter_type => 'pii-redact', config => '{\"answers\": true, \"kinds\": [\"ip\"]}')",
            &[],
        )
        .unwrap();
    assert_eq!(cached(&mut asked, json!([])), (false, format!("ask {EMAIL}")));
    asked.add("openai-compatible", "m", &json!({}));
    assert_eq!(cached(&mut asked, json!([])), (false, format!("ask {EMAIL}")));
}

#[test]
fn a_prompt_that_is_blocked_has_no_answer_out_of_the_cache_either() {
    let mut asked = model(json!([]));
    let cache = json!({"cache": true});
    asked.chat(INJECTION, &cache).unwrap();
    assert_eq!(asked.chat_json(INJECTION, &cache).unwrap().unwrap()["cached"], true);
    asked.add("openai-compatible", "m", &json!({"filters": ["prompt-guard"]}));
    blocked(asked.chat(INJECTION, &cache), "prompt-guard", "prompt");
}

#[test]
fn every_candidate_of_a_parallel_chat_has_its_own_filters_and_the_calls() {
    let mut asked = model(json!(["prompt-guard"]));
    asked.add("openai-compatible", "open", &json!({}));
    asked.add("openai-compatible", "pii", &json!({"filters": ["pii-both"]}));
    let prompt = format!("{INJECTION} {EMAIL}");
    let ask = |asked: &mut pg_llm_tests::Asked, options: Value| -> Value {
        asked.value("SELECT pg_llm_parallel_chat_json($1, '{m,open,pii}', $2)", &[&prompt, &options]).unwrap()
    };
    let answer = ask(&mut asked, json!({"strategy": "all"}));
    let candidates = answer["candidates"].as_array().unwrap();
    assert_eq!((&candidates[0]["error"]["kind"], &candidates[0]["error"]["sqlstate"]), (&json!("blocked"), &json!("42501")));
    assert_eq!((&candidates[1]["response"], &candidates[1]["filters"]), (&json!(prompt), &Value::Null));
    assert_eq!((&candidates[2]["response"], &candidates[2]["filters"][0]["name"]), (&json!(prompt), &json!("pii-both")));
    let told: Vec<bool> = asked.upstream.requests().iter().map(|request| request.contains(EMAIL)).collect();
    assert_eq!(told.iter().filter(|told| **told).count(), 1, "the one without filters");
}

#[test]
fn a_judge_is_asked_through_the_calls_filters_too() {
    let mut asked = model(json!([]));
    asked.add("openai-compatible", "judge", &json!({}));
    let options = json!({"strategy": "judge", "judge_instance": "judge", "filters": ["pii-both"]});
    let ask = "SELECT pg_llm_parallel_chat_json($1, '{m,m}', $2)";
    asked.value::<Value>(ask, &[&format!("Which? {EMAIL}"), &options]).unwrap();
    assert!(asked.upstream.requests().len() >= 3, "two candidates, and the judge, whose echo is no verdict");
    assert!(!sent(&asked.upstream).contains(EMAIL));
}

#[test]
fn a_fallback_has_its_own_filters_and_none_is_asked_for_what_a_filter_stopped() {
    let mut asked = model(json!([]));
    asked.add("openai-compatible", "second", &json!({"filters": ["pii-both"]}));
    let nobody =
        json!({"api_endpoint": "http://127.0.0.1:9/v1", "max_attempts": 1, "fallback_instance": "second", "filters": ["secret-redact"]});
    asked.client.execute("SELECT pg_llm_add_model('openai-compatible', 'first', 'sk-x', $1)", &[&nobody]).unwrap();
    let ask = "SELECT pg_llm_chat_json('first', $1, $2)";
    let answer: Value = asked.value(ask, &[&format!("x {EMAIL}"), &json!({})]).unwrap();
    assert_eq!((&answer["fallback_used"], &answer["filters"][0]["name"]), (&json!(true), &json!("pii-both")));
    assert!(!sent(&asked.upstream).contains(EMAIL));
    let before = asked.upstream.requests().len();
    let guarded = json!({"filters": ["prompt-guard"]});
    blocked(asked.value::<Value>(ask, &[&INJECTION, &guarded]), "prompt-guard", "prompt");
    commits(&mut asked, "panic");
    let error = db_error(asked.value::<Value>(ask, &[&"x", &json!({"filters": ["hostile"]})]));
    assert_eq!((error.code().code(), asked.upstream.requests().len()), ("38001", before), "{error:?}");
}
