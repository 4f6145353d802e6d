//! One after another.

use pg_llm_tests::{Asked, db_error};
use pg_llm_upstream::{Reply, Upstream, openai, silence::Refusing};
use serde_json::{Value, json};

use super::{another, answer, asked, failing, requests, who};
use crate::uploads::built;

#[test]
fn a_model_that_fails_is_answered_for_by_the_one_that_it_names() {
    let mut asked = asked(failing(), &json!({"fallback_instance": "b", "system": "Of m.", "temperature": 0.1}));
    let b = another(&mut asked, "b", openai::completion("From b."), &json!({"system": "Of b.", "model_name": "bee", "top_p": 0.5}));
    let said = answer(
        &mut asked,
        &json!({"max_tokens": 9, "messages": [{"role": "user", "content": "One"}, {"role": "assistant", "content": "Two"}]}),
    );
    assert_eq!((who(&said), &said["response"], &said["attempts"]), (("b", true), &json!("From b."), &json!(2)));
    let from = &said["fallback_from"];
    assert_eq!((from.as_array().map(Vec::len), &from[0]["instance_name"], &from[0]["attempts"]), (Some(1), &json!("m"), &json!(1)));
    assert_eq!(
        (&from[0]["error"]["kind"], &from[0]["error"]["message"]),
        (&json!("provider"), &json!("model \"m\" failed: Out of order."))
    );
    assert_eq!(
        b.last_request().unwrap().json(),
        json!({"model": "bee", "max_tokens": 9, "top_p": 0.5, "messages": [
            {"role": "system", "content": "Of b."}, {"role": "user", "content": "One"},
            {"role": "assistant", "content": "Two"}, {"role": "user", "content": "Hello"}]}),
        "the call's own options over its own defaults, prompt and history"
    );
    assert_eq!(asked.says("Hello"), "From b.");
    asked.upstream.on(Asked::PATH).reply(openai::completion("From m."));
    let said = answer(&mut asked, &json!({}));
    assert_eq!((who(&said), &said["fallback_from"]), (("m", false), &Value::Null));
    assert_eq!(b.requests().len(), 2, "nobody is asked without need");
}

#[test]
fn a_chain_goes_on_until_somebody_answers() {
    let mut asked = asked(failing(), &json!({"fallback_instance": "b"}));
    let b = another(&mut asked, "b", Reply::close(), &json!({"fallback_instance": "c"}));
    let c = another(&mut asked, "c", openai::completion("From c."), &json!({"fallback_instance": "d"}));
    let d = another(&mut asked, "d", openai::completion("From d."), &json!({}));
    let said = answer(&mut asked, &json!({}));
    assert_eq!((who(&said), &said["attempts"]), (("c", true), &json!(3)));
    let from = said["fallback_from"].as_array().unwrap();
    assert_eq!(from.iter().map(|f| f["instance_name"].as_str().unwrap()).collect::<Vec<_>>(), ["m", "b"]);
    assert_eq!(from[1]["error"]["kind"], "broken");
    assert_eq!(requests([&asked.upstream, &b, &c, &d]), [1, 1, 1, 0]);
}

#[test]
fn the_attempts_of_a_model_come_before_the_next_model() {
    let busy = openai::error(503, "x", "y", "Busy.").header("retry-after-ms", "1");
    let mut asked = asked(busy, &json!({"fallback_instance": "b"}));
    let b = another(&mut asked, "b", openai::completion("From b."), &json!({}));
    assert_eq!(answer(&mut asked, &json!({}))["attempts"], 4);
    assert_eq!(requests([&asked.upstream, &b]), [3, 1]);
}

#[test]
fn a_circle_ends_where_it_closes() {
    let mut asked = asked(failing(), &json!({"fallback_instance": "b"}));
    let b = another(
        &mut asked,
        "b",
        openai::error(429, "x", "y", "Slower.").header("x-should-retry", "false"),
        &json!({"fallback_instance": "m"}),
    );
    let error = db_error(asked.chat("Hello", &json!({})));
    assert_eq!((error.code().code(), error.message()), ("38000", "pg_llm: model \"m\" failed: Out of order."));
    assert!(error.detail().is_some_and(|d| d.ends_with("\nFallback \"b\": model \"b\" failed: Slower.")), "{error:?}");
    assert_eq!(requests([&asked.upstream, &b]), [1, 1]);
    asked.client.batch_execute("SET pg_llm.default_local_fallback = 'm'").unwrap();
    asked.add("openai-compatible", "m", &json!({}));
    assert_eq!(db_error(asked.chat("Hello", &json!({}))).code().code(), "38000");
    assert_eq!(db_error(asked.chat("Hello", &json!({"fallback_instance": "m"}))).code().code(), "38000");
    assert_eq!(requests([&asked.upstream, &b]), [3, 1], "nobody answers for itself");
}

#[test]
fn a_model_cannot_be_added_that_names_itself() {
    let mut asked = asked(failing(), &json!({}));
    let add = "SELECT pg_llm_add_model('mock', 'x', NULL, '{\"fallback_instance\": \"x\"}')";
    let error = db_error(asked.client.query(add, &[]));
    assert_eq!(error.code().code(), "22023");
    assert!(error.message().contains("fallback_instance"), "{error:?}");
    for bad in [json!(true), json!(1), json!(["b"]), json!({})] {
        let error = db_error(asked.chat("Hello", &json!({"fallback_instance": bad})));
        assert_eq!(error.code().code(), "22023", "{bad}");
    }
    assert_eq!(asked.upstream.requests().len(), 0);
}

#[test]
fn a_chain_has_at_most_five_models() {
    let mut asked = asked(failing(), &json!({"fallback_instance": "f1"}));
    let others: Vec<Upstream> =
        (1..=6).map(|n| another(&mut asked, &format!("f{n}"), failing(), &json!({"fallback_instance": format!("f{}", n + 1)}))).collect();
    let error = db_error(asked.chat("Hello", &json!({})));
    let detail = error.detail().unwrap();
    assert!(detail.contains("\nFallback \"f4\":") && !detail.contains("f5") && detail.len() <= 1024, "{detail}");
    assert_eq!(others.iter().map(|o| o.requests().len()).collect::<Vec<_>>(), [1, 1, 1, 1, 0, 0]);
}

#[test]
fn the_calls_option_goes_before_the_models_and_that_before_the_setting() {
    let mut asked = asked(failing(), &json!({}));
    let _upstreams = ["a", "b", "c"].map(|name| another(&mut asked, name, openai::completion(name), &json!({})));
    asked.client.batch_execute("SET pg_llm.default_local_fallback = 'a'").unwrap();
    assert_eq!(who(&answer(&mut asked, &json!({}))), ("a", true));
    asked.add("openai-compatible", "m", &json!({"fallback_instance": "b"}));
    assert_eq!(who(&answer(&mut asked, &json!({}))), ("b", true));
    assert_eq!(who(&answer(&mut asked, &json!({"fallback_instance": "c"}))), ("c", true));
    assert_eq!(who(&answer(&mut asked, &json!({"fallback_instance": null}))), ("b", true));
    for none in [json!(false), json!("")] {
        let error = db_error(asked.chat("Hello", &json!({"fallback_instance": none})));
        assert_eq!(error.code().code(), "38000");
        assert!(!error.detail().unwrap().contains("Fallback"), "{error:?}");
    }
    asked.add("openai-compatible", "m", &json!({"fallback_instance": false}));
    assert_eq!(db_error(asked.chat("Hello", &json!({}))).code().code(), "38000", "the model's own none goes before the setting");
}

#[test]
fn what_another_model_may_do_without_is_handed_on() {
    let mut asked = asked(failing(), &json!({"fallback_instance": "b", "max_attempts": 1}));
    let _b = another(&mut asked, "b", openai::completion("From b."), &json!({}));
    let error = |status: u16, code: &str| openai::error(status, "some_error", code, "Words.");
    for (what, reply) in [
        ("401", error(401, "invalid_api_key")),
        ("402", error(402, "payment")),
        ("403", error(403, "forbidden")),
        ("404", error(404, "model_not_found")),
        ("429", error(429, "slower")),
        ("no quota", error(429, "insufficient_quota")),
        ("500", error(500, "x")),
        ("504", error(504, "x")),
        ("context", error(400, "context_length_exceeded")),
        ("closed", Reply::close()),
        ("reset", Reply::reset()),
        ("malformed", openai::malformed()),
        ("no choices", openai::no_choices()),
        ("a page", openai::html(200)),
    ] {
        asked.upstream.on(Asked::PATH).reply(reply);
        assert_eq!(who(&answer(&mut asked, &json!({}))), ("b", true), "{what}");
    }
    let refusing = Refusing::start();
    let config = json!({"api_endpoint": refusing.url(), "max_attempts": 1, "fallback_instance": "b"});
    asked.client.execute("SELECT pg_llm_add_model('openai-compatible', 'm', NULL, $1)", &[&config]).unwrap();
    assert_eq!(who(&answer(&mut asked, &json!({}))), ("b", true), "nobody there");
}

#[test]
fn what_is_the_requests_own_fault_is_not_handed_on() {
    let mut asked = asked(failing(), &json!({"fallback_instance": "b", "max_attempts": 1}));
    let b = another(&mut asked, "b", openai::completion("From b."), &json!({}));
    for (what, reply, state) in [
        ("400", openai::error(400, "x", "bad_request", "Words."), "38000"),
        ("422", openai::error(422, "x", "y", "Words."), "38000"),
        ("a filter of content", openai::error(400, "x", "content_policy_violation", "Words."), "38000"),
        ("too large", openai::completion(&"x".repeat(2 << 20)), "54000"),
    ] {
        asked.client.batch_execute("SET pg_llm.max_response_bytes = '1MB'").unwrap();
        asked.upstream.on(Asked::PATH).reply(reply);
        let error = db_error(asked.chat("Hello", &json!({})));
        assert_eq!(error.code().code(), state, "{what}: {error:?}");
        assert!(!error.detail().unwrap_or_default().contains("Fallback"), "{what}: {error:?}");
    }
    assert_eq!(b.requests().len(), 0);
}

#[test]
fn a_host_that_the_policy_refuses_is_not_evaded() {
    let mut asked = asked(openai::completion("From m."), &json!({"fallback_instance": "b"}));
    let b = another(&mut asked, "b", openai::completion("From b."), &json!({}));
    let only_b = format!("SET pg_llm.allowed_hosts = 'http://127.0.0.1:{}'", b.address().port());
    asked.client.batch_execute(&only_b).unwrap();
    let error = db_error(asked.chat("Hello", &json!({})));
    assert_eq!((error.code().code(), b.requests().len()), ("42501", 0), "{error:?}");
}

#[test]
fn an_adapter_that_misbehaves_is_answered_for() {
    let mut asked = asked(failing(), &json!({}));
    let _b = another(&mut asked, "b", openai::completion("From b."), &json!({}));
    asked.client.execute("SELECT pg_llm_add_provider('hostile', $1)", &[&built("hostile.wasm")]).unwrap();
    let add = "SELECT pg_llm_add_model('hostile', 'm', NULL, '{\"model_name\": \"trap\", \"fallback_instance\": \"b\"}')";
    asked.client.query(add, &[]).unwrap();
    let said = answer(&mut asked, &json!({}));
    assert_eq!((who(&said), &said["fallback_from"][0]["error"]["kind"]), (("b", true), &json!("guest")));
    asked.database.cluster().assert_no_crash();
}

#[test]
fn an_answer_that_does_not_fit_its_schema_is_asked_of_the_next() {
    let mut asked = asked(openai::completion("No JSON at all."), &json!({"fallback_instance": "b"}));
    let b = another(&mut asked, "b", openai::completion("{\"n\": 1}"), &json!({}));
    let schema = json!({"response_format": {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}});
    let said = answer(&mut asked, &schema);
    assert_eq!((who(&said), &said["parsed"], &said["attempts"]), (("b", true), &json!({"n": 1}), &json!(3)));
    assert_eq!(requests([&asked.upstream, &b]), [2, 1], "repaired once, then handed on");
    assert!(!b.last_request().unwrap().contains("No JSON at all"));
}

#[test]
fn on_error_counts_when_nobody_answers() {
    let mut asked = asked(failing(), &json!({"fallback_instance": "b"}));
    let b =
        another(&mut asked, "b", openai::error(429, "x", "y", "Slower.").header("x-should-retry", "false"), &json!({"on_error": "null"}));
    assert_eq!(db_error(asked.chat("Hello", &json!({}))).code().code(), "38000", "b's own default is not the call's");
    assert_eq!(asked.chat("Hello", &json!({"on_error": "null"})).unwrap(), None);
    let object = answer(&mut asked, &json!({"on_error": "object"}));
    assert_eq!((&object["instance_name"], &object["attempts"], &object["error"]["sqlstate"]), (&json!("m"), &json!(2), &json!("38000")));
    assert!(object["error"]["detail"].as_str().unwrap().contains("Fallback \"b\": model \"b\" failed: Slower."), "{object}");
    b.on(Asked::PATH).reply(openai::completion("From b."));
    assert_eq!(asked.chat("Hello", &json!({"on_error": "null"})).unwrap().as_deref(), Some("From b."));
}

#[test]
fn long_words_of_many_models_leave_room_for_all() {
    let words = |c: &str| openai::error(500, "x", "y", &c.repeat(5000)).header("x-should-retry", "false");
    let mut asked = asked(words("m🦀"), &json!({"fallback_instance": "b"}));
    let _b = another(&mut asked, "b", words("bä"), &json!({"fallback_instance": "c"}));
    let _c = another(&mut asked, "c", words("c"), &json!({"fallback_instance": "d"}));
    let _d = another(&mut asked, "d", words("d"), &json!({}));
    let error = db_error(asked.chat("Hello", &json!({})));
    let detail = error.detail().unwrap();
    assert!(detail.len() <= 1024 && detail.starts_with("Kind: server"), "{} {detail}", detail.len());
    for name in ["b", "c", "d"] {
        assert!(detail.contains(&format!("\nFallback \"{name}\": model \"{name}\" failed: ")), "{name}: {detail}");
    }
}
