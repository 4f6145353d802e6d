//! Which requests are the same, and how old an answer may be.

use pg_llm_tests::Asked;
use pg_llm_upstream::Upstream;
use serde_json::json;

use super::{ask, asked_for, entries, value};

#[test]
fn every_option_that_decides_the_answer_makes_another_request() {
    let mut asked = Asked::echo();
    let tool = json!([{"name": "now", "parameters": {"type": "object", "properties": {}}}]);
    let variants = [
        json!({}),
        json!({"system": "Be brief."}),
        json!({"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Ho"}]}),
        json!({"messages": [{"role": "user", "content": "HiHo"}]}),
        json!({"images": ["https://example.com/a.png"]}),
        json!({"images": ["data:image/png;base64,iVBORw0KGgo="]}),
        json!({"temperature": 0}),
        json!({"temperature": 1}),
        json!({"top_p": 0.5}),
        json!({"top_k": 5}),
        json!({"max_tokens": 100}),
        json!({"stop": ["x", "y"]}),
        json!({"stop": ["xy"]}),
        json!({"seed": 1}),
        json!({"seed": 2}),
        json!({"presence_penalty": 1}),
        json!({"frequency_penalty": 1}),
        json!({"logprobs": true}),
        json!({"logprobs": 1}),
        json!({"tools": tool.clone()}),
        json!({"tools": tool.clone(), "tool_choice": "auto"}),
        json!({"tools": tool, "tool_choice": "none"}),
        json!({"response_format": "text"}),
        json!({"reasoning_effort": "low"}),
        json!({"extra_body": {"a": 1}}),
        json!({"extra_body": {"a": 1, "b": 1}}),
        json!({"include_raw": true}),
    ];
    for round in [false, true] {
        for variant in &variants {
            let mut options = variant.clone();
            options["cache"] = json!(true);
            assert_eq!(ask(&mut asked.client, "Hello", &options)["cached"], json!(round), "{variant}");
        }
        assert_eq!(asked_for(&asked), variants.len() as u64);
    }
    assert_eq!(ask(&mut asked.client, "Hello.", &json!({"cache": true}))["cached"], json!(false), "another prompt");
}

#[test]
fn what_does_not_decide_the_answer_does_not_count() {
    let mut asked = Asked::echo();
    ask(&mut asked.client, "Hello", &json!({"cache": true, "extra_body": {"a": {"x": 1, "y": 2}, "b": 1}}));
    for options in [
        json!({"timeout_ms": 5000}),
        json!({"max_attempts": 1}),
        json!({"on_error": "null"}),
        json!({"cache": {"ttl_s": 1000}}),
        json!({"include_raw": false}),
        json!({"stop": []}),
    ] {
        let mut options = options;
        options["cache"] = options.get("cache").cloned().unwrap_or(json!(true));
        options["extra_body"] = json!({"b": 1, "a": {"y": 2, "x": 1}});
        assert_eq!(ask(&mut asked.client, "Hello", &options)["cached"], json!(true), "{options}");
    }
    // An image by another road is the same image.
    let png = "iVBORw0KGgo=";
    ask(&mut asked.client, "Look", &json!({"cache": true, "images": [png]}));
    assert_eq!(
        ask(&mut asked.client, "Look", &json!({"cache": true, "images": [{"data": png}]}))["cached"],
        json!(true),
        "given as an object"
    );
}

#[test]
fn an_answer_is_given_until_it_is_too_old_for_who_kept_it_or_for_who_asks() {
    let mut asked = Asked::echo();
    let age = |asked: &mut Asked, seconds: i32| {
        let sql = format!(
            "UPDATE _pg_llm_catalog.response_cache SET created_at = created_at - interval '{seconds} s', expires_at = expires_at - interval '{seconds} s'"
        );
        asked.client.execute(sql.as_str(), &[]).unwrap();
    };
    let cached = |asked: &mut Asked, cache: serde_json::Value| ask(&mut asked.client, "Hello", &json!({"cache": cache}))["cached"].clone();
    assert_eq!(cached(&mut asked, json!({"ttl_s": 100})), json!(false));
    age(&mut asked, 50);
    assert_eq!(cached(&mut asked, json!({"ttl_s": 60})), json!(true));
    assert_eq!(cached(&mut asked, json!(true)), json!(true));
    assert_eq!(cached(&mut asked, json!({"ttl_s": 40})), json!(false), "too old for this one, and replaced");
    assert_eq!(entries(&mut asked.client), 1);
    assert_eq!(cached(&mut asked, json!({"ttl_s": 40})), json!(true));
    age(&mut asked, 41);
    assert_eq!(cached(&mut asked, json!({"ttl_s": 1000})), json!(false), "it was kept for 40 seconds");
    assert_eq!(asked_for(&asked), 3);

    asked.client.batch_execute("SET pg_llm.cache_ttl = '10s'; SELECT pg_llm_cache_clear()").unwrap();
    cached(&mut asked, json!(true));
    age(&mut asked, 9);
    assert_eq!(cached(&mut asked, json!(true)), json!(true));
    age(&mut asked, 2);
    assert_eq!(cached(&mut asked, json!(true)), json!(false));
}

#[test]
fn another_model_with_the_same_configuration_has_its_own() {
    let mut asked = Asked::echo();
    asked.add("openai-compatible", "twin", &json!({"model_name": "m"}));
    let cached = |asked: &mut Asked, model: &str| -> bool {
        value(&mut asked.client, "SELECT (pg_llm_chat_json($1, 'Hello', '{\"cache\": true}') -> 'cached')::bool", &[&model])
    };
    assert_eq!(
        [cached(&mut asked, "m"), cached(&mut asked, "twin"), cached(&mut asked, "m"), cached(&mut asked, "twin")],
        [false, false, true, true]
    );
}

#[test]
fn a_model_that_changes_or_goes_takes_its_answers_along() {
    let mut asked = Asked::echo();
    let other = Upstream::start_echo();
    asked.add("openai-compatible", "bystander", &json!({}));
    asked.client.execute("SELECT pg_llm_chat('bystander', 'Hello', '{\"cache\": true}')", &[]).unwrap();
    let options = json!({"cache": true});
    for change in [
        "SELECT pg_llm_add_model('openai-compatible', 'm', 'k', jsonb_build_object('api_endpoint', $1::text, 'model_name', 'n'))",
        "SELECT pg_llm_add_model('openai-compatible', 'm', 'k', jsonb_build_object('api_endpoint', $2::text, 'model_name', $1::text))",
        "SELECT pg_llm_add_model('openai-compatible', 'm', 'k', jsonb_build_object('api_endpoint', $2::text, 'model_name', $1::text))",
        "SELECT pg_llm_remove_model('m'), pg_llm_add_model('openai-compatible', 'm', 'k', jsonb_build_object('api_endpoint', coalesce($1, $2)))",
    ] {
        assert_eq!(ask(&mut asked.client, "Hello", &options)["cached"], json!(false), "before {change}");
        assert_eq!(ask(&mut asked.client, "Hello", &options)["cached"], json!(true));
        // One of the two is not used by each.
        let sql = format!("{change}, $1 = $2");
        asked.client.execute(sql.as_str(), &[&format!("{}/v1", asked.upstream.url()), &format!("{}/v1", other.url())]).unwrap();
        let left: i64 = value(&mut asked.client, "SELECT count(*) FROM _pg_llm_catalog.response_cache WHERE instance_name = 'm'", &[]);
        assert_eq!(left, 0, "{change}");
    }
    assert_eq!(ask(&mut asked.client, "Hello", &options)["cached"], json!(false));
    let bystander: bool =
        value(&mut asked.client, "SELECT (pg_llm_chat_json('bystander', 'Hello', '{\"cache\": true}') -> 'cached')::bool", &[]);
    assert!(bystander, "another model's answers stay");
    // A change that is taken back takes nothing along.
    ask(&mut asked.client, "Hello", &options);
    let kept = entries(&mut asked.client);
    asked.client.batch_execute("BEGIN; SELECT pg_llm_remove_model('m'); ROLLBACK").unwrap();
    assert_eq!(entries(&mut asked.client), kept);
    // A new key is the same model.
    asked.client.batch_execute("SELECT pg_llm_set_key('m', 'default', 'sk-other')").unwrap();
    assert_eq!(ask(&mut asked.client, "Hello", &options)["cached"], json!(true));
}
