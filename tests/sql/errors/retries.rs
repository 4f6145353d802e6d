//! What is tried again, how often, and what never is.

use pg_llm_tests::{Asked, db_error};
use pg_llm_upstream::{Reply, Upstream, openai, silence::Refusing};
use serde_json::{Value, json};

fn asked() -> Asked {
    Asked::at(Upstream::start(), json!({}))
}

fn error(status: u16) -> Reply {
    openai::error(status, "some_error", "some_code", "Words.")
}

/// The answer's `attempts`, after these replies and then a good one.
#[track_caller]
fn attempts_until_answered(asked: &mut Asked, what: &str, reply: Reply, times: usize) -> Value {
    asked.upstream.on(Asked::PATH).repeat(times, reply).reply(openai::completion("Fine."));
    asked.upstream.forget();
    let answer = asked.chat_json("Hello", &json!({})).unwrap_or_else(|error| panic!("{what}: {error:?}")).unwrap();
    assert_eq!(answer["response"], "Fine.", "{what}");
    let bodies: Vec<Value> = asked.upstream.requests().iter().map(pg_llm_upstream::Received::json).collect();
    assert_eq!(bodies.len(), times + 1, "{what}");
    assert!(bodies.iter().all(|body| *body == bodies[0]), "{what}: the same each time");
    answer["attempts"].clone()
}

#[test]
fn after_429_with_retry_after_and_then_200_there_is_an_answer_of_two_attempts() {
    let mut asked = asked();
    assert_eq!(attempts_until_answered(&mut asked, "429", error(429).header("retry-after", "0"), 1), 2);
    assert_eq!(asked.says("Hello"), "Fine.");
}

#[test]
fn what_the_provider_did_not_do_is_tried_again_when_it_says() {
    let mut asked = asked();
    let date = "Sun, 06 Nov 1994 08:49:37 GMT";
    for (what, reply) in [
        ("408", error(408).header("retry-after-ms", "1")),
        ("409", error(409).header("retry-after-ms", "1")),
        ("429, milliseconds", error(429).header("retry-after-ms", "1.5")),
        ("429, milliseconds before seconds", error(429).header("retry-after", "3600").header("retry-after-ms", "1")),
        ("429, a fraction of a second", error(429).header("retry-after", "0.01")),
        ("429, a date that is now", error(429).header("date", date).header("retry-after", date)),
        ("500", error(500).header("retry-after-ms", "1")),
        ("502", error(502).header("retry-after-ms", "1")),
        ("503", error(503).header("retry-after-ms", "1")),
        ("503, a page", openai::html(503).header("retry-after-ms", "1")),
        ("504, that says when", error(504).header("retry-after-ms", "1")),
        ("529", error(529).header("retry-after-ms", "1")),
        ("400, that should be tried again", error(400).header("retry-after-ms", "1").header("x-should-retry", "true")),
    ] {
        assert_eq!(attempts_until_answered(&mut asked, what, reply, 2), 3, "{what}");
    }
}

#[test]
fn without_a_hint_it_is_tried_again_after_a_while() {
    assert_eq!(attempts_until_answered(&mut asked(), "500", error(500), 1), 2);
    assert_eq!(attempts_until_answered(&mut asked(), "a hint that is none", error(429).header("retry-after", "soon"), 1), 2);
}

#[test]
fn attempts_end_after_three_or_as_told() {
    let mut asked = asked();
    asked.add("openai-compatible", "m", &json!({"circuit_breaker": false}));
    asked.upstream.on(Asked::PATH).reply(error(500).header("retry-after-ms", "1"));
    for (options, attempts) in
        [(json!({}), 3), (json!({"max_attempts": 1}), 1), (json!({"max_attempts": 2}), 2), (json!({"max_attempts": 10}), 10)]
    {
        asked.upstream.forget();
        let mut options = options;
        options["on_error"] = json!("object");
        let failed = asked.chat_json("Hello", &options).unwrap().unwrap();
        assert_eq!((&failed["attempts"], &failed["error"]["sqlstate"]), (&json!(attempts), &json!("38000")), "{options}");
        assert_eq!(asked.upstream.requests().len(), attempts, "{options}");
    }
    asked.add("openai-compatible", "m", &json!({"max_attempts": 2, "circuit_breaker": false}));
    asked.upstream.forget();
    assert_eq!(db_error(asked.chat("Hello", &json!({}))).code().code(), "38000");
    assert_eq!(asked.upstream.requests().len(), 2, "the model's own number");
}

#[test]
fn what_would_fail_again_or_may_have_been_done_is_not_tried_again() {
    let mut asked = asked();
    for (what, reply, state) in [
        ("400", error(400), "38000"),
        ("401", error(401), "38000"),
        ("403", error(403), "38000"),
        ("404", error(404), "38000"),
        ("422", error(422), "38000"),
        ("501", error(501), "38000"),
        ("504, a proxy gave up", error(504), "38000"),
        ("500, that should not be tried again", error(500).header("x-should-retry", "false"), "38000"),
        ("429, that should not be tried again", error(429).header("x-should-retry", "false").header("retry-after", "0"), "53400"),
        (
            "429, no quota left",
            openai::error(429, "insufficient_quota", "insufficient_quota", "Words.").header("retry-after", "0"),
            "38000",
        ),
        ("402", error(402), "38000"),
        ("closed before the answer", Reply::close(), "08006"),
        ("reset before the answer", Reply::reset(), "08006"),
        ("closed in the body", openai::completion("Paris").truncate(30), "08006"),
        ("reset in the body", openai::completion("Paris").reset_after(30), "08006"),
        ("malformed", openai::malformed(), "38000"),
        ("empty", openai::empty(), "38000"),
        ("no choices", openai::no_choices(), "38000"),
        ("a redirect", Reply::redirect(307, "http://127.0.0.1:9/"), "38000"),
    ] {
        asked.upstream.on(Asked::PATH).reply(reply).reply(openai::completion("Never."));
        asked.upstream.forget();
        let failed = db_error(asked.chat("Hello", &json!({"max_attempts": 5})));
        assert_eq!(failed.code().code(), state, "{what}: {failed:?}");
        assert_eq!(asked.upstream.requests().len(), 1, "{what}");
    }
}

#[test]
fn an_embedding_that_was_broken_off_is_asked_for_again() {
    let mut asked = asked();
    let path = "/v1/embeddings";
    for (what, reply) in [
        ("closed before the answer", Reply::close()),
        ("reset before the answer", Reply::reset()),
        ("closed in the body", openai::embeddings(&[&[1.0, 2.0]]).truncate(30)),
        ("504, a proxy gave up", error(504)),
    ] {
        asked.upstream.on(path).reply(reply).reply(openai::embeddings(&[&[1.0, 2.0]]));
        asked.upstream.forget();
        let vector: String =
            asked.value("SELECT pg_llm_get_embedding('m', 'Hello')::text", &[]).unwrap_or_else(|e| panic!("{what}: {e:?}"));
        assert_eq!((vector.trim_matches(['[', ']', '{', '}']), asked.upstream.requests().len()), ("1,2", 2), "{what}");
    }
}

#[test]
fn a_connection_broken_off_on_a_kept_alive_connection_is_not_tried_again_either() {
    let mut asked = asked();
    asked.upstream.on(Asked::PATH).reply(openai::completion("First.")).reply(Reply::reset()).reply(openai::completion("Never."));
    assert_eq!(asked.says("Hello"), "First.");
    let failed = db_error(asked.chat("Hello", &json!({})));
    assert_eq!(failed.code().code(), "08006", "{failed:?}");
    assert_eq!(asked.upstream.requests().len(), 2, "the upstream had read the second: it may have been done");
}

#[test]
fn nobody_there_is_tried_again_because_nothing_was_sent() {
    let mut asked = asked();
    let refusing = Refusing::start();
    let config = json!({"api_endpoint": refusing.url()});
    asked.client.execute("SELECT pg_llm_add_model('openai-compatible', 'm', NULL, $1)", &[&config]).unwrap();
    let failed = asked.chat_json("Hello", &json!({"on_error": "object", "max_attempts": 2})).unwrap().unwrap();
    assert_eq!((&failed["attempts"], &failed["error"]["sqlstate"]), (&json!(2), &json!("08001")), "{failed}");
}

#[test]
fn a_wait_beyond_the_deadline_fails_at_once() {
    let mut asked = asked();
    for (number, (reply, options)) in (1..).zip([
        (error(429).header("retry-after", "3600"), json!({})),
        (error(429).header("retry-after", "59"), json!({"timeout_ms": 58_000})),
        (error(429).header("date", "Sun, 06 Nov 1994 08:49:37 GMT").header("retry-after", "Mon, 07 Nov 1994 08:49:37 GMT"), json!({})),
    ]) {
        asked.upstream.on(Asked::PATH).reply(reply).reply(openai::completion("Never."));
        // What the one before was told to wait for is another model's.
        asked.add("openai-compatible", "m", &json!({"model_name": format!("model {number}")}));
        asked.upstream.forget();
        let failed = db_error(asked.chat("Hello", &options));
        assert_eq!(failed.code().code(), "53400", "{failed:?}");
        assert!(failed.hint().is_some_and(|hint| hint.starts_with("The provider asks to wait ")), "{failed:?}");
        assert_eq!(asked.upstream.requests().len(), 1, "{options}");
    }
}
